"""The command-line tools on a corpus of 200 pairs: train, kill, resume, two processes, generate."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from fairseq.checkpoint_utils import load_checkpoint_to_cpu

import lrdrop_fairseq  # noqa: F401  today's torch needs its repairs to load a checkpoint
from tests.toy_run import with_plugin

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = str(ROOT / "lrdrop_fairseq")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
CRITERION = "lr_drop_label_smoothed_cross_entropy"
TERMS = ("hidden_loss", "attention_loss", "output_loss")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Source: words; target: their translations in reverse order."""
    folder = tmp_path_factory.mktemp("data")
    generator = random.Random(0)
    for split, n_pairs in {"train": 200, "valid": 20, "test": 20}.items():
        pairs = [
            [generator.randrange(20) for _ in range(generator.randrange(1, 9))]
            for _ in range(n_pairs)
        ]
        source = (" ".join(f"d{word}" for word in words) for words in pairs)
        target = (" ".join(f"e{word}" for word in reversed(words)) for words in pairs)
        (folder / f"{split}.de").write_text("\n".join(source) + "\n")
        (folder / f"{split}.en").write_text("\n".join(target) + "\n")
    with_plugin("fairseq_cli.preprocess", "--source-lang=de", "--target-lang=en",
                f"--trainpref={folder}/train", f"--validpref={folder}/valid",
                f"--testpref={folder}/test", f"--destdir={folder}/data",
                "--joined-dictionary")  # fmt: skip
    return folder / "data"


def train_flags(data: Path, save_dir: Path, *more: str) -> list[str]:
    return [
        str(data), "--user-dir", PLUGIN, "--cpu", "--seed", "1", "--save-dir", str(save_dir),
        "--arch", "lr_drop_transformer_multi30k", "--encoder-layers", "2", "--decoder-layers", "1",
        "--share-all-embeddings", "--dropout", "0.2",
        "--criterion", CRITERION, "--lr-drop-start", "0", "--label-smoothing", "0.1",
        "--optimizer", "adam",
        "--lr", "0.005", "--lr-scheduler", "inverse_sqrt", "--warmup-updates", "10",
        "--max-tokens", "100", "--log-format", "json", "--log-interval", "5",
        "--no-progress-bar", *more,
    ]  # fmt: skip


def load(checkpoint: Path) -> dict[str, torch.Tensor]:
    parameters: dict[str, torch.Tensor] = load_checkpoint_to_cpu(str(checkpoint))["model"]
    return parameters


def assert_same_parameters(one: Path, other: Path) -> None:
    first, second = load(one), load(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def logged(output: str, key: str) -> list[dict[str, str]]:
    """The JSON lines of the log that hold ``key``."""
    lines = (line[line.index("{") :] for line in output.splitlines() if f'"{key}"' in line)
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and log of an uninterrupted run of 100 updates."""
    folder = tmp_path_factory.mktemp("trained")
    output = with_plugin(
        "fairseq_cli.train",
        *train_flags(data, folder, "--max-update", "100", "--save-interval-updates", "20"),
        f"--tensorboard-logdir={folder}/tensorboard",
    )
    return folder, output


def test_training_logs_the_terms(trained: tuple[Path, str]) -> None:
    folder, output = trained
    updates = logged(output, "gnorm")
    assert len(updates) >= 100 // 5
    for name in TERMS:
        assert all(float(line[name]) > 0 for line in updates[:-1])
        assert float(logged(output, f"train_{name}")[0][f"train_{name}"]) > 0
        assert not logged(output, f"valid_{name}")
    assert float(updates[11]["nll_loss"]) < float(updates[0]["nll_loss"]) - 0.5
    events = list((folder / "tensorboard" / "train_inner").glob("events*"))
    assert events and all(name.encode() in events[0].read_bytes() for name in TERMS)


def test_a_killed_run_resumes_to_the_last_bit(
    trained: tuple[Path, str], data: Path, tmp_path: Path
) -> None:
    flags = train_flags(data, tmp_path, "--max-update", "100", "--save-interval-updates", "20")
    command = [sys.executable, "-m", "fairseq_cli.train", *flags]
    with open(tmp_path / "log", "w") as log:
        run = subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=log)
        # It appears when it is complete, after checkpoint_1_20.pt, of which it is a copy.
        while not (tmp_path / "checkpoint_last.pt").exists():
            assert run.poll() is None, Path(log.name).read_text()
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
    assert not list(tmp_path.glob("checkpoint_*_100.pt"))
    output = with_plugin("fairseq_cli.train", *flags)
    assert "Loaded checkpoint" in output
    assert_same_parameters(tmp_path / "checkpoint_last.pt", trained[0] / "checkpoint_last.pt")


def test_a_finished_run_is_left_alone(trained: tuple[Path, str], data: Path) -> None:
    """The same command again: no update more, no file touched."""
    folder, _ = trained
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.pt")}
    flags = train_flags(data, folder, "--max-update", "100", "--save-interval-updates", "20")
    output = with_plugin("fairseq_cli.train", *flags)
    assert "nothing to train: 100 updates are done" in output and not logged(output, "gnorm")
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.pt")} == before


def train_in_two_processes(data: Path, save_dir: Path, updates: int) -> str:
    """What rank 0 printed; both processes on the CPU with gloo, as one would start two nodes."""
    meeting_point = f"{save_dir}-{updates}-meeting-point"  # each run needs a new one
    flags = train_flags(
        data, save_dir, f"--max-update={updates}", "--distributed-world-size=2", "--update-freq=2",
        f"--distributed-init-method=file://{meeting_point}", "--distributed-no-spawn",
        "--distributed-backend=gloo", "--ddp-backend=legacy_ddp",
    )  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "fairseq_cli.train", *flags, f"--distributed-rank={rank}"],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "".join(outputs)
    return outputs[0]


def test_two_processes_train_and_resume(data: Path, tmp_path: Path) -> None:
    output = train_in_two_processes(data, tmp_path / "whole", 8)
    assert "training on 2 devices" in output
    assert float(logged(output, "train_hidden_loss")[0]["train_hidden_loss"]) > 0
    train_in_two_processes(data, tmp_path / "parts", 4)
    assert "Loaded checkpoint" in train_in_two_processes(data, tmp_path / "parts", 8)
    last = "checkpoint_last.pt"
    assert_same_parameters(tmp_path / "whole" / last, tmp_path / "parts" / last)


def generate(data: Path, checkpoint: Path, *more: str) -> list[str]:
    """Hypotheses of the test set with their scores, as fairseq-generate prints them."""
    output = with_plugin("fairseq_cli.generate", str(data), f"--path={checkpoint}", "--cpu",
                         "--beam=3", "--max-tokens=200", *more)  # fmt: skip
    return [line for line in output.splitlines() if line.startswith("H-")]


def test_generate_as_the_plain_fairseq_architecture(trained: tuple[Path, str], data: Path) -> None:
    """The checkpoint is an ordinary one: the parent architecture translates the same with it."""
    checkpoint = trained[0] / "checkpoint_last.pt"
    ours = generate(data, checkpoint, f"--user-dir={PLUGIN}")
    assert len(ours) == 20
    assert len({line.split("\t")[1] for line in ours}) > 5, "scores should differ"
    parent = str({"_name": "transformer"})
    assert ours == generate(data, checkpoint, f"--user-dir={PLUGIN}", f"--model-overrides={parent}")


def test_hydra_train_is_the_same_training(
    trained: tuple[Path, str], data: Path, tmp_path: Path
) -> None:
    """The same configuration as YAML: the same parameters after 20 updates, to the last bit."""
    config = {
        "common": {"user_dir": PLUGIN, "cpu": True, "seed": 1},
        "task": {
            "_name": "translation", "data": str(data), "source_lang": "de", "target_lang": "en"
        },
        "criterion": {"_name": CRITERION, "label_smoothing": 0.1, "lr_drop_start": 0},
        "model": {
            "_name": "lr_drop_transformer_multi30k", "dropout": 0.2, "share_all_embeddings": True,
            "encoder_layers": 2, "decoder_layers": 1,
        },
        "optimizer": {"_name": "adam"},
        "lr_scheduler": {"_name": "inverse_sqrt", "warmup_updates": 10},
        "optimization": {"lr": [0.005], "max_update": 20},
        "dataset": {"max_tokens": 100},
        "checkpoint": {"save_dir": str(tmp_path)},
    }  # fmt: skip
    (tmp_path / "toy.yaml").write_text(json.dumps(config))  # JSON is YAML
    with_plugin("fairseq_cli.hydra_train", f"--config-dir={tmp_path}", "--config-name=toy",
                f"hydra.run.dir={tmp_path}/hydra")  # fmt: skip
    expected = next(trained[0].glob("checkpoint_*_20.pt"))
    assert_same_parameters(tmp_path / "checkpoint_last.pt", expected)


def test_an_architecture_without_layer_states_is_an_error(data: Path, tmp_path: Path) -> None:
    flags = train_flags(data, tmp_path, "--max-update", "1", "--arch", "transformer_iwslt_de_en")
    command = [sys.executable, "-m", "fairseq_cli.train", *flags]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "exposes no layer states" in done.stderr
    assert "lr_drop_transformer_iwslt_de_en" in done.stderr
