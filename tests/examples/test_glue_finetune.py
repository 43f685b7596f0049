"""finetune.sh: the command of each task and method, what it refuses, and going on after a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import options
from fairseq.checkpoint_utils import load_checkpoint_to_cpu
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import ARCH_MODEL_REGISTRY

import lrdrop_fairseq  # noqa: F401  registers the architectures and criterions
from examples.language_understanding import run_record, sentence_tasks, small_corpora, small_model
from tests.warm import KILLED

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "language_understanding"
SCRIPT = EXAMPLE / "finetune.sh"


SIZES = "--encoder-layers 2 --encoder-embed-dim 32 --encoder-ffn-embed-dim 64"
SIZES += " --encoder-attention-heads 2 --max-positions 64"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """As much of prepared data and of a checkpoint as finetune.sh looks at."""
    folder = tmp_path / "glue data"
    for name in sentence_tasks.read_tasks():
        (folder / name).mkdir(parents=True)
        (folder / name / "prepare.json").write_text("{}")
    (tmp_path / "model.pt").write_bytes(b"")
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment whose fairseq-train writes its arguments to $RECORD, one a line, and fails.

    $CUDA says whether there is a GPU.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "fairseq-train").write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$RECORD"\nexit 3\n')
    python = f'*cuda.is_available*) echo "$CUDA" ;;\n*) exec "{sys.executable}" "$@" ;;'
    (folder / "python").write_text(f'#!/bin/sh\ncase "$*" in\n{python}\nesac\n')
    for path in folder.iterdir():
        path.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": sys.prefix,
        "RECORD": str(tmp_path / "record"),
        "CUDA": "False",
    }


def command(data: Path, task: str, method: str, *more: str) -> list[str]:
    flags = ["--model", str(data.parent / "model.pt"), "--arch", "lr_drop_roberta_base"]
    flags += ["--method", method, "--save-dir", str(data.parent / "save"), "--seeds", "3"]
    return [str(SCRIPT), task, str(data), *flags, *more]


def run(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)


def parsed(environment: dict[str, str], arguments: list[str]) -> Any:
    """fairseq's configuration of the command that finetune.sh gave."""
    result = run(arguments, environment)
    assert result.returncode == 1 and "fine-tuning failed" in result.stderr, result.stderr
    given = Path(environment["RECORD"]).read_text().splitlines()
    namespace = options.parse_args_and_arch(options.get_training_parser(), given)
    return convert_namespace_to_omegaconf(namespace)


# lr, batch, updates and warm-up of R-Drop's table; the metric of GLUE
PUBLISHED = {
    "CoLA": (2, 1e-5, 16, 5336, 320, "mcc"),
    "SST-2": (2, 1e-5, 32, 20935, 1256, "accuracy"),
    "MRPC": (2, 1e-5, 16, 2296, 137, "acc_and_f1"),
    "STS-B": (1, 1e-5, 16, 3598, 214, "pearson_and_spearman"),
    "QQP": (2, 1e-5, 32, 113272, 28318, "acc_and_f1"),
    "MNLI": (3, 1e-5, 32, 123873, 7432, "accuracy"),
    "QNLI": (2, 1e-5, 32, 33112, 1986, "accuracy"),
    "RTE": (2, 1e-5, 8, 2036, 122, "accuracy"),
}


@pytest.mark.parametrize("task", PUBLISHED)
def test_each_task(environment: dict[str, str], data: Path, task: str) -> None:
    """fairseq's own parser takes the command, and the values arrive where they should."""
    method = {"STS-B": "lrdrop", "QQP": "plain"}.get(task, "rdrop")
    config = parsed(environment, command(data, task, method))
    classes, lr, batch, updates, warmup, metric = PUBLISHED[task]
    assert (config.task.num_classes, config.optimization.lr) == (classes, [lr])
    assert (config.dataset.batch_size, config.dataset.max_tokens) == (batch, 4400)
    assert config.optimization.max_update == config.lr_scheduler.total_num_update == updates
    assert config.lr_scheduler.warmup_updates == warmup
    assert config.checkpoint.best_checkpoint_metric == metric
    assert config.checkpoint.maximize_best_checkpoint_metric
    reports = {name for name, value in config.criterion.items() if "report" in name and value}
    assert reports == (set() if metric == "accuracy" else {f"report_{metric}"})
    assert config.criterion.regression_target == config.task.regression_target == (task == "STS-B")
    assert (config.task.init_token, config.task.separator_token) == (0, 2)
    assert config.task.data == str(data / task)
    assert config.checkpoint.finetune_from_model == str(data.parent / "model.pt")
    assert config.checkpoint.restore_file == "checkpoint_last.pt"
    assert config.checkpoint.no_epoch_checkpoints and not config.common.fp16
    assert config.checkpoint.save_dir == str(data.parent / "save" / "seed3")
    assert config.common.seed == 3
    expected = {"plain": None, "rdrop": (0.0, 0.0), "lrdrop": (0.1, 1.0)}[method]
    if expected is None:
        assert config.criterion._name == "sentence_prediction"
    else:
        assert config.criterion._name == "lr_drop_sentence_prediction"
        weights = config.criterion.lr_drop_hidden_weight, config.criterion.lr_drop_attention_weight
        assert weights == expected and config.criterion.lr_drop_output_weight > 0


def test_extra_flags_come_last_and_fp16_where_there_is_a_gpu(
    environment: dict[str, str], data: Path
) -> None:
    environment["CUDA"] = "True"
    config = parsed(environment, command(data, "RTE", "plain", "--", "--lr", "3e-5"))
    assert config.optimization.lr == [3e-5]
    assert config.common.fp16 and config.common.fp16_init_scale == 4
    assert config.distributed_training.distributed_world_size == 1
    instead = ("--save-dir", str(data.parent / "bf16"), "--", "--bf16")
    common = parsed(environment, [*command(data, "RTE", "plain"), *instead]).common
    assert common.bf16 and not common.fp16
    # One flag alone, and nothing else, is a value too.
    other = ("--save-dir", str(data.parent / "other"), "--", "--fp16-no-flatten-grads")
    arguments = command(data, "RTE", "plain", *other)
    assert parsed(environment, arguments).common.fp16_no_flatten_grads


def test_refuses_several_processes(environment: dict[str, str], data: Path) -> None:
    torchrun = {"MASTER_ADDR": "a", "MASTER_PORT": "1", "RANK": "0", "WORLD_SIZE": "2"}
    result = run(command(data, "RTE", "plain"), {**environment, **torchrun})
    assert result.returncode == 1 and "trains on one device" in result.stderr
    assert not (data.parent / "save").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no task given"),
        (["RTE"], "no data directory"),
        (
            ["RTE", "DATA", "--arch", "a", "--method", "plain", "--save-dir", "s"],
            "--model is missing",
        ),
        (["RTE", "DATA", "MORE"], "one task and one data directory only"),
        (["RTE", "DATA", "--lr", "1"], "unknown option --lr"),
        (
            ["RTE", "D", "--model", "m", "--arch", "a", "--method", "plain", "--save-dir", "s"]
            + ["--seeds", "1,,2"],
            "--seeds is a list",
        ),
        (
            ["RTE", "D", "--model", "m", "--arch", "a", "--method", "plain", "--save-dir", "s"]
            + ["--", "--seed=4"],
            "--seed does not go after --",
        ),
        (
            ["RTE", "D", "--encoder", "e", "--method", "plain", "--save-dir", "s"]
            + ["--", "--max-positions", "64"],
            "--max-positions does not go with --encoder",
        ),
    ],
)
def test_refuses_bad_arguments(
    environment: dict[str, str], arguments: list[str], message: str
) -> None:
    result = run([str(SCRIPT), *arguments], environment)
    assert result.returncode == 2
    assert message in result.stderr and "Usage: examples/language" in result.stderr


def test_refuses_what_is_not_there(environment: dict[str, str], data: Path) -> None:
    unknown = run(command(data, "WNLI", "plain"), environment)
    assert unknown.returncode == 1 and "'WNLI' is no task: CoLA, SST-2" in unknown.stderr
    (data / "RTE" / "prepare.json").unlink()
    missing = run(command(data, "RTE", "plain"), environment)
    assert missing.returncode == 1 and "prepare_glue.sh RTE" in missing.stderr
    (data.parent / "model.pt").unlink()
    no_model = run(command(data, "CoLA", "plain"), environment)
    assert no_model.returncode == 1 and "pretrained checkpoint" in no_model.stderr
    assert not Path(environment["RECORD"]).exists()


RUN = {"task": "RTE", "method": "plain", "arch": "a", "seed": 1}
RUN |= {"flags": "--lr 2 --lr-drop-ramp 5.0"}


def test_a_folder_holds_one_run(tmp_path: Path) -> None:
    folder = tmp_path / "seed1"
    assert run_record.begin(folder, {**RUN, "flags": "--lr 0"}) == "start"
    assert run_record.begin(folder, RUN) == "start"  # the other run failed before it saved anything
    (folder / "checkpoint_last.pt").write_bytes(b"")
    assert run_record.begin(folder, RUN) == "resume"
    for key, other in {"method": "lrdrop", "flags": "--lr 1", "task": "CoLA"}.items():
        with pytest.raises(sentence_tasks.TaskError, match=re.escape(f"{key} {RUN[key]!r} there")):
            run_record.begin(folder, {**RUN, key: other})
    spelled = {**RUN, "flags": "--lr=2e0 --lr-drop-ramp 5"}
    assert run_record.begin(folder, spelled) == "resume"
    hashed = {**RUN, "model_sha256": "a"}
    assert run_record.begin(folder, hashed) == "resume"  # a record from before it was kept
    run_record.write_record(folder, {**hashed, "finished": True})
    assert run_record.begin(folder, hashed) == "finished"
    with pytest.raises(sentence_tasks.TaskError, match="pretrained model has changed since"):
        run_record.begin(folder, {**RUN, "model_sha256": "b"})
    (folder / "finetune.json").unlink()
    with pytest.raises(sentence_tasks.TaskError, match="not known what was trained"):
        run_record.begin(folder, RUN)


def test_finish_needs_a_best_checkpoint(tmp_path: Path) -> None:
    run_record.begin(tmp_path / "seed1", RUN)
    with pytest.raises(sentence_tasks.TaskError, match=r"checkpoint_best.pt does not exist"):
        run_record.finish(tmp_path / "seed1")
    assert run_record.begin(tmp_path / "seed1", RUN) == "start"


def test_small_checkpoint_loads_as_a_public_one(tmp_path: Path) -> None:
    """Old names and arguments come back as fairseq's of today, the values unchanged."""
    small_corpora.write_bpe(tmp_path)
    checkpoint = small_model.make_checkpoint(tmp_path / "dict.txt")
    assert any(name.endswith("self_attn.in_proj_weight") for name in checkpoint["model"])
    assert all(name.startswith("decoder.") for name in checkpoint["model"])
    torch.save(checkpoint, tmp_path / "model.pt")
    state = load_checkpoint_to_cpu(str(tmp_path / "model.pt"))
    words = Dictionary.load(str(tmp_path / "dict.txt"))
    words.add_symbol("<mask>")
    task = Namespace(source_dictionary=words, max_positions=lambda: 64)
    model = ARCH_MODEL_REGISTRY["lr_drop_roberta"].build_model(checkpoint["args"], task)
    embeddings = checkpoint["model"]["decoder.sentence_encoder.embed_tokens.weight"]
    assert not torch.equal(model.encoder.sentence_encoder.embed_tokens.weight, embeddings)
    model.load_state_dict(state["model"], strict=True)
    assert torch.equal(model.encoder.sentence_encoder.embed_tokens.weight, embeddings)
    torch.manual_seed(1)
    written = small_model.RobertaEncoder(checkpoint["args"], words).state_dict()
    read = model.encoder.state_dict()
    assert all(torch.equal(read[name], value) for name, value in written.items())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with MRPC in small, prepared, and a small model."""
    folder = tmp_path_factory.mktemp("small")
    small_corpora.write_task(folder / "raw", "MRPC", 160, 1)
    small_corpora.write_bpe(folder / "raw")
    prepare = [str(EXAMPLE / "prepare_glue.sh"), "MRPC", "--from-dir", str(folder / "raw")]
    prepare += ["--bpe", str(folder / "raw")]
    prepare += ["--output", str(folder / "data"), "--any-size", "--workers", "1"]
    subprocess.run(prepare, env=real_environment(), check=True, capture_output=True)
    assert small_model.main([str(folder / "raw" / "dict.txt"), str(folder / "model.pt")]) == 0
    return folder


def real_environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    fixed = {"VIRTUAL_ENV": sys.prefix, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore", **fixed}


def finetune(small: Path, save_dir: str) -> list[str]:
    flags = ["--model", str(small / "model.pt"), "--arch", "lr_drop_roberta", "--seeds", "2"]
    flags += ["--method", "lrdrop", "--save-dir", str(small / save_dir), "--", *SIZES.split()]
    flags += ["--lr", "0.003", "--max-update", "80", "--batch-size", "16", "--log-interval", "10"]
    return [str(SCRIPT), "MRPC", str(small / "data"), *flags]


@pytest.fixture(scope="module")
def whole(small: Path) -> Path:
    """The folder of an uninterrupted run."""
    done = run(finetune(small, "whole"), real_environment())
    assert done.returncode == 0, done.stderr[-3000:]
    return small / "whole" / "seed2"


def same(folder: Path, other: Path) -> bool:
    """Whether two runs chose the same update and have its parameters, to the last bit."""
    records = [json.loads((path / "finetune.json").read_text()) for path in (folder, other)]
    states = [load_checkpoint_to_cpu(str(path / "checkpoint_best.pt")) for path in (folder, other)]
    one, two = (state["model"] for state in states)
    results = [
        (record["finished"], record["best_update"], record["best_score"]) for record in records
    ]
    return results[0] == results[1] and all(torch.equal(one[name], two[name]) for name in one)


def test_goes_on_after_a_kill_and_ends_as_without(small: Path, whole: Path) -> None:
    """Killed after its first checkpoint: the signal reaches fairseq, nothing is finished; the
    same command resumes and gives the parameters of an uninterrupted run to the last bit."""
    folder = small / "killed" / "seed2"
    process = subprocess.Popen(
        finetune(small, "killed"),
        env={**real_environment(), **KILLED},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (folder / "checkpoint_last.pt").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    assert not json.loads((folder / "finetune.json").read_text())["finished"]
    for stale in ("scores.valid.json", "predictions.valid.tsv"):  # of a model of another day
        (folder / stale).touch()

    resumed = run(finetune(small, "killed"), real_environment())
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert "resuming from" in resumed.stderr
    log = (folder / "train.log").read_text()
    assert log.count("loading pretrained model from") == 1
    assert re.search(r"Loaded checkpoint .*checkpoint_last.pt \(epoch", log)
    assert same(folder, whole)

    # Small on disk, and a finished seed is left alone.
    assert (
        load_checkpoint_to_cpu(str(folder / "checkpoint_best.pt"))["last_optimizer_state"] is None
    )
    names = {path.name for path in folder.iterdir()}
    assert names == {"checkpoint_best.pt", "finetune.json", "train.log", ".lock"}
    again = run(finetune(small, "killed"), real_environment())
    assert again.returncode == 0 and "seed 2 is finished" in again.stderr
    assert (folder / "train.log").read_text() == log
    (small / "other.pt").write_bytes(b"")
    other = [argument.replace("model.pt", "other.pt") for argument in finetune(small, "killed")]
    refused = run(other, real_environment())
    assert refused.returncode == 1 and "something else was fine-tuned" in refused.stderr


def test_yaml_trains_what_the_shell_trains(small: Path, whole: Path) -> None:
    """With the two commands around it that the README gives."""
    folder = small / "yaml" / "seed2"
    described = "--task MRPC --method lrdrop --arch lr_drop_roberta --seed 2 --flags=".split()
    described += ["--model", str(small / "model.pt"), "--data", str(small / "data")]
    run_module = str(ROOT / "scripts" / "runs" / "run_module.py")
    module = "examples.language_understanding.run_record"
    begin = [sys.executable, run_module, module, "begin", str(folder), *described]
    begun = run(begin, real_environment())
    assert begun.stdout == "start\n", begun.stderr
    sizes = [option.split(" ") for option in SIZES.removeprefix("--").split(" --")]
    fields = {name.replace("-", "_"): value for name, value in sizes}
    overrides = [f"++model.{name}={value}" for name, value in fields.items()]
    overrides += ["model._name=lr_drop_roberta", f"task.max_positions={fields['max_positions']}"]
    overrides += ["common.seed=2", "common.fp16=false", "common.log_interval=10"]
    overrides += [f"task.data={small / 'data' / 'MRPC'}", "optimization.lr=[0.003]"]
    overrides += ["optimization.max_update=80", f"checkpoint.save_dir={folder}"]
    overrides += [f"checkpoint.finetune_from_model={small / 'model.pt'}"]
    config = ["--config-dir", str(EXAMPLE / "config"), "--config-name", "mrpc"]
    command = [sys.executable, "-m", "fairseq_cli.hydra_train", *config, *overrides]
    done = subprocess.run(command, cwd=ROOT, env=real_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    run_record.finish(folder)
    assert same(folder, whole)
