"""scripts/train.sh: what it refuses, and the command that it runs (fairseq-train is replaced)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from scripts.runs import train_record

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "train.sh"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """As much of a data directory as train.sh looks at."""
    folder = tmp_path / "data with spaces"
    folder.mkdir()
    prepared = {"source_lang": "de", "target_lang": "en", "pretokenized": False, "subsets": {}}
    (folder / "prepare.json").write_text(json.dumps(prepared))
    for language in ("de", "en"):
        (folder / f"dict.{language}.txt").write_text("a 1\n")
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment whose fairseq-train writes its arguments to $RECORD, one a line."""
    folder = tmp_path / "bin"
    folder.mkdir()
    fake = folder / "fairseq-train"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$RECORD"\necho trained\nexec $THEN\n')
    fake.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": os.environ.get("VIRTUAL_ENV", str(tmp_path)),
        "RECORD": str(tmp_path / "record"),
        "THEN": "true",
    }


def run(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def trained(environment: dict[str, str], *arguments: object) -> list[str]:
    """The arguments that fairseq-train received."""
    result = run(environment, *arguments)
    assert result.returncode == 0, result.stderr
    return Path(environment["RECORD"]).read_text().splitlines()


def value(arguments: list[str], flag: str) -> str:
    """The last value of a flag: the one that counts."""
    last = len(arguments) - 1 - arguments[::-1].index(flag)
    return arguments[last + 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no data directory"),
        (["DATA"], "--method is missing"),
        (["DATA", "--method", "plain", "--save-dir", "SAVE"], "--preset is missing"),
        (["DATA", "--method", "plain", "--preset", "iwslt"], "--save-dir is missing"),
        (["DATA", "--method", "plain", "--save-dir", "S", "--preset"], "--preset needs a value"),
        (["DATA", "MORE", "--method", "plain"], "one data directory only"),
        (["DATA", "--lr", "1"], "unknown option --lr"),
        (["DATA", "--seed", "x"], "--seed must be"),
        (
            ["D:A", "--method", "plain", "--preset", "iwslt", "--save-dir", "SAVE"],
            "DATA 'D:A': fairseq takes ':' for a separator",
        ),
        (
            ["DATA", "--method", "plain", "--preset", "iwslt", "--save-dir", "-s"],
            "--save-dir '-s': other programs take a name with '-' in front for an option; "
            "write './-s'",
        ),
        (
            ["DATA", "--method", "plain", "--preset", "iwslt", "--save-dir", "${S}"],
            "--save-dir '${S}': fairseq takes '${' for the begin of a variable",
        ),
        (
            ["DATA", "--method", "dropout", "--preset", "iwslt", "--save-dir", "SAVE"],
            "--method is plain, rdrop or lrdrop, not 'dropout'",
        ),
        (
            ["DATA", "--method", "plain", "--preset", "base", "--save-dir", "SAVE"],
            "--preset is multi30k, iwslt or wmt, not 'base'",
        ),
        (
            ["DATA", "--method", "plain", "--preset", "iwslt", "--save-dir", "SAVE"]
            + ["--", "--save-dir=X"],
            "give --save-dir before --",
        ),
    ],
)
def test_refuses_bad_arguments(
    environment: dict[str, str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = run(environment, *arguments)
    assert result.returncode == 2
    assert message in result.stderr and "Usage: scripts/train.sh" in result.stderr
    assert not Path(environment["RECORD"]).exists()


def test_help(environment: dict[str, str]) -> None:
    result = run(environment, "--help")
    assert result.returncode == 0 and "--eval-bleu" in result.stdout


ARCHITECTURES = {
    "multi30k": "lr_drop_transformer_multi30k",
    "iwslt": "lr_drop_transformer_iwslt_de_en",
    "wmt": "lr_drop_transformer_vaswani_wmt_en_de_big",
}
LAYERS_OFF = {"--lr-drop-hidden-weight": "0", "--lr-drop-attention-weight": "0"}
PUBLISHED = {"--lr-drop-output-weight": "2.5", "--lr-drop-start": "0"}
# Beside the criterion's defaults.
TERMS: dict[tuple[str, str], dict[str, str]] = {
    ("multi30k", "plain"): {},
    ("multi30k", "rdrop"): LAYERS_OFF,
    ("multi30k", "lrdrop"): {},
    ("iwslt", "plain"): {},
    ("iwslt", "rdrop"): LAYERS_OFF | PUBLISHED,
    ("iwslt", "lrdrop"): {"--lr-drop-output-weight": "2.5"},
    ("wmt", "rdrop"): LAYERS_OFF | PUBLISHED,
    ("wmt", "lrdrop"): {"--lr-drop-output-weight": "2.5"},
}


@pytest.mark.parametrize(("preset", "method"), TERMS)
def test_methods(
    environment: dict[str, str], tmp_path: Path, data: Path, preset: str, method: str
) -> None:
    arguments = trained(
        environment, data, "--method", method, "--preset", preset, "--save-dir", tmp_path / "s"
    )
    ours = "" if method == "plain" else "lr_drop_"
    assert value(arguments, "--criterion") == f"{ours}label_smoothed_cross_entropy"
    # Early stopping would come before terms that begin late; and all methods get the same updates.
    assert "--patience" not in arguments
    assert value(arguments, "--arch") == ARCHITECTURES[preset]
    flags = [flag for flag in arguments if flag.startswith("--lr-drop")]
    assert {flag: value(arguments, flag) for flag in flags} == TERMS[preset, method]


@pytest.mark.parametrize(
    ("preset", "arch", "lr", "warmup", "updates", "tokens"),
    [
        ("multi30k", "lr_drop_transformer_multi30k", "0.005", "2000", "8000", "4096"),
        ("iwslt", "lr_drop_transformer_iwslt_de_en", "0.0005", "4000", "300000", "4096"),
        ("wmt", "lr_drop_transformer_vaswani_wmt_en_de_big", "0.0005", "4000", "300000", "3584"),
    ],
)
def test_presets(
    environment: dict[str, str],
    tmp_path: Path,
    data: Path,
    preset: str,
    arch: str,
    lr: str,
    warmup: str,
    updates: str,
    tokens: str,
) -> None:
    save_dir = tmp_path / "save"
    arguments = trained(
        environment, data, "--method", "plain", "--preset", preset, "--save-dir", save_dir
    )
    assert arguments[0] == str(data)
    flags = ["--arch", "--lr", "--warmup-updates", "--max-update", "--max-tokens"]
    assert [value(arguments, flag) for flag in flags] == [arch, lr, warmup, updates, tokens]
    assert value(arguments, "--source-lang") == "de" and value(arguments, "--target-lang") == "en"
    assert value(arguments, "--adam-betas") == "(0.9, 0.98)"
    assert value(arguments, "--user-dir") == str(ROOT / "lrdrop_fairseq")
    assert value(arguments, "--save-dir") == str(save_dir)
    assert value(arguments, "--log-format") == "simple"  # no terminal here
    assert "--share-all-embeddings" in arguments and "--tensorboard-logdir" not in arguments


def test_fp16_needs_a_gpu(environment: dict[str, str], tmp_path: Path, data: Path) -> None:
    environment["CUDA_VISIBLE_DEVICES"] = ""
    arguments = trained(
        environment, data, "--method", "plain", "--preset", "wmt", "--save-dir", tmp_path / "s"
    )
    assert "--fp16" not in arguments


def test_every_flag_is_one_of_fairseq_and_the_plugin(
    environment: dict[str, str], tmp_path: Path, data: Path
) -> None:
    """fairseq's own parser takes the command, and the values arrive where they should."""
    from fairseq import options

    arguments = trained(
        environment, data, "--method", "rdrop", "--preset", "multi30k", "--save-dir", tmp_path / "s"
    )
    parsed = options.parse_args_and_arch(options.get_training_parser(), input_args=arguments)
    assert (parsed.patience, parsed.keep_last_epochs, parsed.lr) == (-1, 10, [0.005])
    assert (parsed.lr_drop_hidden_weight, parsed.lr_drop_attention_weight) == (0.0, 0.0)
    assert parsed.lr_drop_output_weight > 0
    assert (parsed.encoder_layers, parsed.dropout, parsed.label_smoothing) == (4, 0.3, 0.1)


def test_extra_flags_come_last_and_whole(
    environment: dict[str, str], tmp_path: Path, data: Path
) -> None:
    arguments = trained(
        environment,
        *(data, "--method", "plain", "--preset", "iwslt", "--save-dir", tmp_path / "s"),
        *("--seed", "7", "--", "--max-update", "9", "--eval-bleu-args", '{"beam": 4}'),
    )
    assert arguments[-4:] == ["--max-update", "9", "--eval-bleu-args", '{"beam": 4}']
    assert value(arguments, "--seed") == "7"


def test_log_and_resume(environment: dict[str, str], tmp_path: Path, data: Path) -> None:
    save_dir = tmp_path / "save"
    command = (data, "--method", "plain", "--preset", "multi30k", "--save-dir", save_dir)
    first = run(environment, *command)
    assert first.stdout == "trained\n" and "starting a new training" in first.stderr
    (save_dir / "checkpoint_last.pt").touch()
    second = run(environment, *command)
    assert f"resuming from {save_dir}/checkpoint_last.pt" in second.stderr
    assert (save_dir / "train.log").read_text() == "trained\ntrained\n"


def test_exit_status_is_that_of_fairseq(
    environment: dict[str, str], tmp_path: Path, data: Path
) -> None:
    environment["THEN"] = "false"
    command = (data, "--method", "plain", "--preset", "multi30k", "--save-dir", tmp_path / "s")
    assert run(environment, *command).returncode == 1


@pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="reads Linux's /proc")
def test_a_signal_reaches_fairseq(environment: dict[str, str], tmp_path: Path, data: Path) -> None:
    """The script turns into fairseq-train, so that killing it leaves no training behind."""
    environment["THEN"] = "sleep 60"
    environment.pop("LRDROP_TEST_SERVER", None)
    command = [SCRIPT, data, "--method", "plain", "--preset", "multi30k", "--save-dir", tmp_path]
    with subprocess.Popen(
        list(map(str, command)), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"trained\n"
        while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
            assert process.poll() is None
            time.sleep(0.01)
        process.terminate()
    assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--method": "lrdrop"}, "method 'plain' there, 'lrdrop' now"),
        ({"--preset": "iwslt"}, "preset 'multi30k' there, 'iwslt' now"),
        ({"--seed": "2"}, "seed 1 there, 2 now"),
    ],
)
def test_refuses_a_folder_with_another_run(
    environment: dict[str, str],
    tmp_path: Path,
    data: Path,
    changed: dict[str, str],
    message: str,
) -> None:
    options = {"--method": "plain", "--preset": "multi30k", "--save-dir": str(tmp_path / "save")}
    trained(environment, data, *(word for pair in options.items() for word in pair))
    (tmp_path / "save" / "checkpoint_last.pt").touch()
    Path(environment["RECORD"]).unlink()
    again = run(environment, data, *(word for p in {**options, **changed}.items() for word in p))
    assert again.returncode == 1 and message in again.stderr
    assert not Path(environment["RECORD"]).exists()


def test_refuses_a_folder_of_other_weights_and_goes_on_with_other_flags(
    environment: dict[str, str], tmp_path: Path, data: Path
) -> None:
    options = ("--method", "lrdrop", "--preset", "multi30k", "--save-dir", tmp_path / "save", "--")
    trained(environment, data, *options, "--lr-drop-hidden-weight", "0.1")
    (tmp_path / "save" / "checkpoint_last.pt").touch()
    done = run(environment, data, *options, "--lr-drop-hidden-weight=1e-1", "--max-update", "9")
    now = "--lr-drop-hidden-weight=1e-1 --max-update 9"
    assert f"'--lr-drop-hidden-weight 0.1', from now on '{now}'" in done.stderr
    assert json.loads((tmp_path / "save" / "train.json").read_text())["flags"] == now
    for flags in ((), ("--lr-drop-hidden-weight", "0.2")):
        again = run(environment, data, *options, *flags)
        assert again.returncode == 1 and "weights {'hidden': '1e-1'} there" in again.stderr
    for flags in (("--lr-drop-start", "5"), ("--lr-drop-ramp=5",)):
        again = run(environment, data, *options, "--lr-drop-hidden-weight", "0.1", *flags)
        assert again.returncode == 1 and f"{flags[0][10:].split('=')[0]}': '5'" in again.stderr


def test_refuses_data_that_were_prepared_anew_with_other_words(tmp_path: Path, data: Path) -> None:
    described = json.loads((data / "prepare.json").read_text())
    options = Namespace(data=data, method="plain", seed=1, flags="")

    def record(**more: str) -> Any:
        (data / "prepare.json").write_text(json.dumps({**described, **more}))
        return train_record.describe(options)

    save_dir = tmp_path / "m"
    old, one, two = record(), *(record(dictionary_sha256=words) for words in ("one", "two"))
    assert "dictionary" not in old and one["dictionary"] == "one"  # data of older versions
    for before, now in ((old, one), (one, one)):
        train_record.keep(save_dir, before)
        (save_dir / "checkpoint_last.pt").touch()
        train_record.check(save_dir, now)
        (save_dir / "train.json").unlink()
        (save_dir / "checkpoint_last.pt").unlink()
    train_record.keep(save_dir, one)
    (save_dir / "checkpoint_last.pt").touch()
    with pytest.raises(train_record.RecordError, match="dictionary 'one' there, 'two' now"):
        train_record.check(save_dir, two)


def test_a_run_without_a_checkpoint_binds_nobody(
    environment: dict[str, str], tmp_path: Path, data: Path
) -> None:
    """Refused by fairseq, or failed before it saved: other flags may follow."""
    save_dir = tmp_path / "save"
    options = ("--method", "lrdrop", "--preset", "multi30k", "--save-dir", save_dir, "--")
    environment["THEN"] = "false"
    assert run(environment, data, *options, "--lr-drop-output-weight=-1").returncode == 1
    environment["THEN"] = "true"
    trained(environment, data, *options, "--lr-drop-output-weight", "2")
    record = json.loads((save_dir / "train.json").read_text())
    assert record["weights"] == {"output": "2"}
    (save_dir / "checkpoint1.pt").touch()
    trained(environment, data, *options, "--lr-drop-output-weight=2.0")
    flags = {"weights": {"output": "2.0"}, "flags": "--lr-drop-output-weight=2.0"}
    assert json.loads((save_dir / "train.json").read_text()) == record | flags


def test_two_at_once(environment: dict[str, str], tmp_path: Path, data: Path) -> None:
    """The second is refused while the first trains, and is let in once that has been killed."""
    save_dir = tmp_path / "save"
    command = (data, "--method", "plain", "--preset", "multi30k", "--save-dir", save_dir)
    first = [str(SCRIPT), *map(str, command)]
    sleeping = {**environment, "THEN": "sleep 60"}
    sleeping.pop("LRDROP_TEST_SERVER", None)  # one process from the script to the training
    with subprocess.Popen(
        first, env=sleeping, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"trained\n"
        second = run(environment, *command, "--seed", "2")
        assert second.returncode == 1
        assert f"train.sh: error: {save_dir}: another training is running there" in second.stderr
        assert f"process {process.pid} on" in second.stderr
        assert json.loads((save_dir / "train.json").read_text())["seed"] == 1
        process.kill()
    assert (save_dir / "train.log").read_text() == "trained\n"
    assert run(environment, *command, "--seed", "2").returncode == 0


@pytest.mark.parametrize(
    ("given", "expected"), [({}, "passive"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")]
)
def test_waiting_threads_sleep_unless_told_otherwise(
    environment: dict[str, str],
    tmp_path: Path,
    data: Path,
    given: dict[str, str],
    expected: str,
) -> None:
    environment.pop("OMP_WAIT_POLICY", None)
    environment |= {"THEN": "printenv OMP_WAIT_POLICY", **given}
    options = ("--method", "plain", "--preset", "multi30k", "--save-dir", tmp_path / "save")
    result = run(environment, data, *options)
    assert result.returncode == 0 and result.stdout.splitlines()[-1] == expected


def test_refuses_a_folder_of_unknown_origin(
    environment: dict[str, str], tmp_path: Path, data: Path
) -> None:
    (tmp_path / "checkpoint_last.pt").touch()
    result = run(
        environment, data, "--method", "plain", "--preset", "multi30k", "--save-dir", tmp_path
    )
    assert result.returncode == 1 and "no train.json" in result.stderr


def test_refuses_unprepared_and_separate_data(
    environment: dict[str, str], tmp_path: Path, data: Path
) -> None:
    options = ("--method", "plain", "--preset", "multi30k", "--save-dir", tmp_path / "save")
    (data / "dict.en.txt").write_text("b 1\n")
    separate = run(environment, data, *options)
    assert separate.returncode == 1 and "one joint dictionary" in separate.stderr
    (data / "prepare.json").unlink()
    unprepared = run(environment, data, *options)
    assert unprepared.returncode == 1 and "prepare.json does not exist" in unprepared.stderr
    assert not (tmp_path / "save").exists()
