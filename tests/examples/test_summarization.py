"""The whole way on a small corpus, and what finetune.sh and evaluate.sh do with its data.

``run_small.sh`` makes the data and a small BART here, and everything after that starts from them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import torch
from fairseq import options
from fairseq.checkpoint_utils import load_checkpoint_to_cpu

import lrdrop_fairseq  # noqa: F401  today's torch needs its repairs to load a checkpoint
from examples.summarization import finetune_record

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "lrdrop_fairseq"
SUMMARIZATION = ROOT / "examples" / "summarization"

ENVIRONMENT = {
    "VIRTUAL_ENV": "/",
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
    "CUDA_VISIBLE_DEVICES": "",
}
SIZES = (
    "--encoder-layers 2 --encoder-embed-dim 64 --encoder-ffn-embed-dim 256 "
    "--encoder-attention-heads 4 --decoder-layers 2 --decoder-attention-heads 4 "
    "--max-source-positions 256 --max-target-positions 256"
).split()


def run(
    script: str, *arguments: object, environment: dict[str, str] = ENVIRONMENT
) -> subprocess.CompletedProcess[str]:
    command = [str(SUMMARIZATION / script), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and output of run_small.sh, smaller still."""
    folder = tmp_path_factory.mktemp("summarization") / "small run"
    done = run("run_small.sh", "--output", folder, "--documents", 300, "--updates", 8)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder, done.stdout


def test_from_documents_to_a_comparison(small: tuple[Path, str]) -> None:
    folder, printed = small
    for metric in ("ROUGE-1 ", "ROUGE-2 ", "ROUGE-Lsum "):
        assert metric in printed
    assert "15 documents; paired bootstrap (Koehn 2004)" in printed and "resamples" in printed
    for method in ("plain", "lrdrop"):
        output = folder / method / "test"
        assert {path.name for path in output.iterdir()} == {
            *("hyp.test.target", "ref.test.target", "scores.test.json")
        }
        assert len((output / "hyp.test.target").read_text().split("\n")) == 16
        result = json.loads((output / "scores.test.json").read_text())
        assert result["documents"] == 15 and result["settings"]["library"] == "rouge-score 0.1.2"
        assert result["generation"] == {
            "beam": "4", "lenpen": "2.0", "min-len": "5", "max-len-b": "60",
            "no-repeat-ngram-size": "3",
        }  # fmt: skip
        assert result["parts"][0]["num_updates"] == 8
        assert set(result["scores"]) == {"ROUGE-1", "ROUGE-2", "ROUGE-Lsum"}
        assert 0 < result["scores"]["ROUGE-1"]["f1"] < 100
        assert f"{result['scores']['ROUGE-1']['f1']:.2f}" in printed
    log = (folder / "lrdrop.log").read_text()
    assert "hidden_loss" in log and "loading pretrained model from" in log
    assert "hidden_loss" not in (folder / "plain.log").read_text()


def test_a_repeated_run_does_nothing_again(small: tuple[Path, str]) -> None:
    folder, printed = small
    (folder / "data" / "prepare.json").touch()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = run("run_small.sh", "--output", folder, "--documents", 300, "--updates", 8)
    assert again.returncode == 0 and again.stdout.count("complete from an earlier run") == 4
    assert again.stdout.splitlines()[-12:] == printed.splitlines()[-12:]
    settings = folder / "settings"
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert {k: v for k, v in before.items() if k != settings} == {
        k: v for k, v in after.items() if k != settings
    }
    other = run("run_small.sh", "--output", folder, "--documents", 301, "--updates", 8)
    assert other.returncode == 1 and "holds a run with other settings" in other.stderr


def test_a_stopped_fine_tuning_resumes(small: tuple[Path, str], tmp_path: Path) -> None:
    """The same command goes on from checkpoint_last.pt, not from the pretrained model again."""
    folder, _ = small
    save_dir = shutil.copytree(folder / "plain", tmp_path / "save")
    assert "loading pretrained model from" in (folder / "plain.log").read_text()
    done = run(
        "finetune.sh",
        *(folder / "data", "--bart", folder / "bart.pt", "--method", "plain"),
        *("--save-dir", save_dir, "--", "--arch", "lr_drop_bart_base", *SIZES),
        *("--update-freq", 1, "--max-update", 10, "--no-epoch-checkpoints", "--num-workers", 0),
    )
    assert done.returncode == 0, done.stderr
    assert f"resuming from {save_dir}/checkpoint_last.pt" in done.stderr
    assert "loading pretrained model" not in done.stdout
    assert f"Loaded checkpoint {save_dir}/checkpoint_last.pt (epoch 1 @ 8 updates)" in done.stdout
    state = load_checkpoint_to_cpu(str(save_dir / "checkpoint_last.pt"))
    assert state["optimizer_history"][-1]["num_updates"] == 10
    (optimizer,) = {int(entry["step"]) for entry in state["last_optimizer_state"]["state"].values()}
    assert optimizer == 10  # updates that Adam has seen


def test_yaml_starts_from_the_checkpoint(small: tuple[Path, str], tmp_path: Path) -> None:
    """fairseq's own BART cannot load one there: the options of the model do not name the task."""
    folder, _ = small
    config = ["--config-dir", str(SUMMARIZATION / "config"), "--config-name", "cnn_dm"]
    sizes = [f"+model.{flag[2:].replace('-', '_')}={n}" for flag, n in zip(SIZES[::2], SIZES[1::2])]
    changes = {
        "task.data": f"'{folder}/data'", "checkpoint.save_dir": tmp_path / "save",
        "checkpoint.finetune_from_model": f"'{folder}/bart.pt'", "common.user_dir": PLUGIN,
        "common.fp16": "false", "common.cpu": "true", "optimization.max_update": 2,
        "optimization.update_freq": "[1]", "dataset.num_workers": 0,
    }  # fmt: skip
    overrides = [f"{name}={value}" for name, value in changes.items()]
    done = subprocess.run(
        ["fairseq-hydra-train", *config, *sizes, *overrides],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    state = load_checkpoint_to_cpu(str(tmp_path / "save" / "checkpoint_last.pt"))
    assert state["optimizer_history"][-1]["num_updates"] == 2
    pretrained = load_checkpoint_to_cpu(str(folder / "bart.pt"))["model"]
    name = "encoder.layers.0.fc1.weight"
    # Two updates of the warm-up move it by little; a random start would be elsewhere.
    torch.testing.assert_close(state["model"][name], pretrained[name], rtol=0, atol=1e-4)


@pytest.fixture
def recording(tmp_path: Path) -> dict[str, str]:
    """An environment whose fairseq-train writes its arguments to $RECORD, one a line."""
    folder = tmp_path / "bin"
    folder.mkdir()
    stand_in = folder / "fairseq-train"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$RECORD"\n')
    stand_in.chmod(0o755)
    path = f"{folder}{os.pathsep}{ENVIRONMENT['PATH']}"
    return {**ENVIRONMENT, "PATH": path, "RECORD": str(tmp_path / "record")}


WEIGHTS = {"plain": None, "rdrop": (0, 0, 0.35), "lrdrop": (0.1, 1, 0.35)}


@pytest.mark.parametrize("method", WEIGHTS)
def test_published_settings(
    recording: dict[str, str], small: tuple[Path, str], tmp_path: Path, method: str
) -> None:
    """fairseq's own parser takes the command; the values are those of R-Drop's script."""
    folder, _ = small
    arguments = (folder / "data", "--bart", folder / "bart.pt", "--method", method)
    more = ("--save-dir", tmp_path / "save", "--", "--arch", "lr_drop_bart_large")
    done = run("finetune.sh", *arguments, *more, environment=recording)
    assert done.returncode == 0, done.stderr
    assert "'-- --update-freq 64' makes up for it" in done.stderr
    command = Path(recording["RECORD"]).read_text().splitlines()
    parsed = options.parse_args_and_arch(options.get_training_parser(), input_args=command)
    expected = {
        "max_update": 20000, "total_num_update": "20000", "warmup_updates": 500, "lr": [3e-5],
        "max_tokens": 1024, "update_freq": [16], "label_smoothing": 0.1, "clip_norm": 0.1,
        "dropout": 0.1, "attention_dropout": 0.1, "weight_decay": 0.01, "adam_eps": 1e-8,
        "adam_betas": "(0.9, 0.999)", "lr_scheduler": "polynomial_decay", "optimizer": "adam",
        "truncate_source": True, "share_all_embeddings": True, "layernorm_embedding": True,
        "find_unused_parameters": True, "required_batch_size_multiple": 1, "fp16": False,
        "encoder_layers": 12, "encoder_embed_dim": 1024, "max_source_positions": 1024,
        "finetune_from_model": str(folder / "bart.pt"), "restore_file": "checkpoint_last.pt",
        "reset_optimizer": False, "source_lang": "source", "target_lang": "target",
    }  # fmt: skip
    assert {name: getattr(parsed, name) for name in expected} == expected
    terms = ("hidden", "attention", "output")
    weights = tuple(getattr(parsed, f"lr_drop_{term}_weight", None) for term in terms)
    if WEIGHTS[method] is None:
        assert parsed.criterion == "label_smoothed_cross_entropy"
    else:
        assert weights == WEIGHTS[method]
        assert parsed.criterion == "lr_drop_label_smoothed_cross_entropy"


def write_checkpoint(small: Path, path: Path, words: int, dimension: int) -> Path:
    """As much of a public checkpoint as finetune.sh looks at before it starts fairseq."""
    state = torch.load(small / "bart.pt", weights_only=False)
    embeddings = torch.zeros(words, dimension)
    torch.save({**state, "model": {"encoder.embed_tokens.weight": embeddings}}, path)
    return path


def test_the_checkpoint_says_the_architecture(small: tuple[Path, str], tmp_path: Path) -> None:
    """With one row more than the vocabulary, as the public ones have it for <mask>, or without."""
    folder, _ = small
    words = json.loads((folder / "data" / "prepare.json").read_text())["dictionary_size"]
    for dimension, arch in {768: "lr_drop_bart_base", 1024: "lr_drop_bart_large"}.items():
        for rows in (words, words + 1):
            path = write_checkpoint(folder, tmp_path / "model.pt", rows, dimension)
            assert finetune_record.find(str(path), folder / "data", False) == (arch, str(path))
        with pytest.raises(finetune_record.RecordError, match="embeddings, but the vocabulary"):
            write_checkpoint(folder, path, words + 2, dimension)
            finetune_record.find(str(path), folder / "data", True)
    own = str(folder / "bart.pt")
    assert finetune_record.find(own, folder / "data", True) == ("lr_drop_bart", own)
    with pytest.raises(finetune_record.RecordError, match="size 64, neither those of bart.base"):
        finetune_record.find(own, folder / "data", False)
    (tmp_path / "text.pt").write_text("no checkpoint")
    with pytest.raises(finetune_record.RecordError, match="text.pt: cannot be read"):
        finetune_record.find(str(tmp_path / "text.pt"), folder / "data", False)


def test_the_public_checkpoint_is_taken_from_its_archive(
    small: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unpacked once, in the folder models."""
    folder, _ = small
    packed = tmp_path / "downloads" / "bart.base.tar.gz"
    packed.parent.mkdir()
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(folder / "bart.pt", "bart.base/model.pt")
    table = {"model-bart.base": {"file": "downloads/bart.base.tar.gz", "urls": []}}
    (tmp_path / "archives.json").write_text(json.dumps(table))
    monkeypatch.setenv("LRDROP_ARCHIVES", str(tmp_path / "archives.json"))
    monkeypatch.setenv("LRDROP_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    arch, checkpoint = finetune_record.find("bart.base", folder / "data", False)
    assert (arch, checkpoint) == ("lr_drop_bart_base", "models/model-bart.base/bart.base/model.pt")
    assert Path(checkpoint).read_bytes() == (folder / "bart.pt").read_bytes()
    packed.unlink()
    assert finetune_record.find("bart.base", folder / "data", False) == (arch, checkpoint)


def test_finetune_refuses_what_does_not_fit(
    recording: dict[str, str], small: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = small
    command = (folder / "data", "--bart", tmp_path / "no.pt", "--method", "plain", "--save-dir")
    done = run("finetune.sh", *command, tmp_path / "save", environment=recording)
    assert done.returncode == 1 and "no.pt: no such file; or give bart.large or" in done.stderr
    done = run("finetune.sh", *command, folder / "lrdrop", environment=recording)
    assert done.returncode == 1 and "method 'lrdrop' there, 'plain' now" in done.stderr
    lrdrop = ("--bart", folder / "bart.pt", "--method", "lrdrop", "--save-dir", folder / "lrdrop")
    weights = ("--", "--arch", "lr_drop_bart_base", "--lr-drop-hidden-weight", "0.5")
    done = run("finetune.sh", folder / "data", *lrdrop, *weights, environment=recording)
    assert done.returncode == 1 and "weights {} there, {'hidden': '0.5'} now" in done.stderr
    assert not (tmp_path / "save").exists() and not Path(recording["RECORD"]).exists()


FULL = ["D", "--bart", "B", "--method", "plain", "--save-dir", "S"]


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("finetune.sh", [], "no data directory"),
        ("finetune.sh", ["D", "--method", "plain", "--save-dir", "S"], "--bart is missing"),
        ("finetune.sh", ["D", "--bart", "B", "--save-dir", "S"], "--method is missing"),
        ("finetune.sh", ["D", "--bart", "B", "--method", "plain"], "--save-dir is missing"),
        (
            "finetune.sh",
            ["D", "--bart", "B", "--method", "x", "--save-dir", "S"],
            "--method is plain, rdrop or lrdrop, not 'x'",
        ),
        ("finetune.sh", [*FULL, "--", "--restore-file", "x"], "use --bart FILE"),
        ("finetune.sh", [*FULL, "--", "--seed=3"], "give --seed before --"),
        ("evaluate.sh", [], "no data directory"),
        ("evaluate.sh", ["D"], "give --checkpoint FILE, or --save-dir DIR"),
        ("evaluate.sh", ["D", "--checkpoint", "c", "--average", "3"], "either --checkpoint or"),
        ("evaluate.sh", ["D", "--checkpoint", "c", "--", "--path=x"], "--path cannot be given"),
        ("evaluate.sh", ["D", "--checkpoint", "c", "--", "--bpe", "gpt2"], "--bpe cannot be given"),
        ("run_small.sh", ["--updates", "0"], "--updates must be"),
    ],
)
def test_refuses_bad_arguments(script: str, arguments: list[str], message: str) -> None:
    result = run(script, *arguments)
    assert result.returncode == 2 and message in result.stderr
    assert f"Usage: examples/summarization/{script}" in result.stderr


def test_evaluate_refuses_what_is_not_there(small: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = small
    missing = run("evaluate.sh", folder / "data", "--checkpoint", tmp_path / "c.pt")
    assert missing.returncode == 1 and "c.pt: no such checkpoint" in missing.stderr
    subset = run("evaluate.sh", folder / "data", "--checkpoint", "c.pt", "--subset", "test1")
    assert subset.returncode == 1 and "no subset 'test1': it has valid, test" in subset.stderr
    (tmp_path / "prepare.json").write_text('{"subsets": {"test": {}}}')
    other = run("evaluate.sh", tmp_path, "--checkpoint", "c.pt")
    assert other.returncode == 1 and "was not made by prepare_cnn_dm.sh" in other.stderr
