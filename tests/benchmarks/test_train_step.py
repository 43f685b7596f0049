"""The benchmark runs, and its contenders are what their names say."""

from __future__ import annotations

import csv
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import train_step, trainers
from benchmarks.contenders import CONTENDERS, PHASES, TrainStep
from benchmarks.shapes import SHAPES, Shape, dictionary, make_batches
from benchmarks.tables import print_table
from lrdrop_fairseq import attention
from lrdrop_fairseq.criterions import next_word as lr_drop

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SMALL = replace(SHAPES["multi30k"], vocabulary=50, max_tokens=256)


SMALL_TEXT = replace(
    SHAPES["language_model"], vocabulary=50, source_length=64, target_length=64, max_tokens=256
)
TEXT_SIZES = [
    f"--decoder-{size}"
    for size in ("embed-dim=32", "input-dim=32", "output-dim=32", "attention-heads=2")
]


def contender(name: str, *flags: str, shape: Shape = SMALL) -> TrainStep:
    return TrainStep(name, shape, 2, ["--cpu", *flags])


def loss_of(step: TrainStep) -> float:
    """Of one batch, by the contender's criterion: summed over its target tokens."""
    trainer = step.trainer
    torch.manual_seed(0)
    with step._patches():
        # The task's, which tells the criterion the number of the update.
        loss, _, _ = trainer.task.train_step(
            step.batches[0], trainer.model, trainer.criterion, trainer.optimizer, update_num=0
        )
    return float(loss)


@pytest.mark.parametrize("size", ["max_tokens", "gpu_max_tokens"])
@pytest.mark.parametrize("name", SHAPES)
def test_batches_are_fixed_and_full(name: str, size: str) -> None:
    shape = replace(SHAPES[name], max_tokens=getattr(SHAPES[name], size))
    words = dictionary(shape.vocabulary)
    assert len(words) == shape.vocabulary
    first, second = make_batches(shape, words, 2), make_batches(shape, words, 2)
    for batch, again in zip(first, second):
        assert torch.equal(batch["target"], again["target"])
        for rows in (batch["target"], batch["net_input"]["src_tokens"]):
            assert rows.max() < shape.vocabulary and rows.numel() <= shape.max_tokens
        assert max(batch["target"].numel(), batch["net_input"]["src_tokens"].numel()) > (
            0.8 * shape.max_tokens
        )
    assert not torch.equal(first[0]["target"], first[1]["target"])


@pytest.mark.parametrize(("shape", "sizes"), [(SMALL, []), (SMALL_TEXT, TEXT_SIZES)])
def test_contenders_without_dropout_have_the_plain_loss_once_or_twice(
    shape: Shape, sizes: list[str]
) -> None:
    """Without dropout all passes agree: R1 counts it twice, fairseq's R-Drop too, LR-Drop once."""
    flags = ["--dropout=0", "--attention-dropout=0", *sizes]
    losses = {name: loss_of(contender(name, *flags, shape=shape)) for name in CONTENDERS}
    for name, factor in {"R0f": 1, "R1": 2, "R1f": 1, "R2": 2, "R3": 1, "R4": 1}.items():
        assert losses[name] == pytest.approx(factor * losses["R0"], rel=1e-5), name


def test_the_floor_takes_two_passes_and_the_plain_forms_are_plain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch_sizes: list[int] = []
    step = contender("R1f")
    step.trainer.model.encoder.register_forward_pre_hook(
        lambda _, args: batch_sizes.append(args[0].size(0))
    )
    step.run(0)
    assert batch_sizes == [2 * step.batches[0]["target"].size(0)]
    # The same numbers from both forms of the losses, so it takes more to tell them apart.
    monkeypatch.setattr(attention, "LARGEST_MAP", 0)
    called: list[Any] = []
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention", lambda *a, **k: called.append(a)
    )
    monkeypatch.setattr(lr_drop, "chunked_output_terms", lambda *a, **k: called.append(a))
    contender("R3").run(0)
    assert not called
    assert loss_of(contender("R3", "--dropout=0")) > 0


def test_an_update_is_an_update_and_its_phases_add_up() -> None:
    step = contender("R4")
    before = [p.clone() for p in step.trainer.model.parameters()]
    seconds = step.run(0)
    assert seconds > 0 and step.trainer.get_num_updates() == 1
    assert any(not torch.equal(a, b) for a, b in zip(before, step.trainer.model.parameters()))
    phases = step.run_phases(1)
    assert tuple(phases) == PHASES and all(value > 0 for value in phases.values())


def test_an_update_that_overflows_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """fairseq skips it, and halves the loss scale."""
    # Where it overflows, fairseq puts a zero on the GPU without asking whether there is one.
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)
    step = contender("R0", "--memory-efficient-fp16", f"--fp16-init-scale={2**20}")
    tries: list[Any] = []
    original = step.trainer.train_step
    monkeypatch.setattr(
        step.trainer, "train_step", lambda *a, **k: tries.append(original(*a, **k)) or tries[-1]
    )
    step.run(0)
    assert step.trainer.get_num_updates() == 1
    assert step.overflows == len(tries) - 1 > 0 and tries[:-1] == [None] * step.overflows
    assert step.trainer.optimizer.scaler.loss_scale == 2**20 / 2**step.overflows
    monkeypatch.setattr(step.trainer, "train_step", lambda *a, **k: None)
    with pytest.raises(RuntimeError, match="30 updates .* overflowed"):
        step.run(0)


@pytest.mark.parametrize("text", ["CUDA out of memory", "something else"])
def test_an_update_that_fails_is_an_error_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    """fairseq would skip a batch that is too large, and write the model after another error."""
    monkeypatch.chdir(tmp_path)
    step = contender("R4")

    def fail(*_: Any) -> None:
        raise RuntimeError(text) if "memory" in text else ValueError(text)

    step.trainer.criterion.register_forward_pre_hook(fail)
    with pytest.raises((RuntimeError, ValueError), match=text):
        step.run(0)
    assert not list(tmp_path.iterdir())


def test_the_trainer_leaves_the_peak_of_a_gpus_memory_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With an environment of CUDA, fairseq resets it after each update."""
    trainer = SimpleNamespace(cuda_env="of a GPU")
    monkeypatch.setattr(trainers, "Trainer", lambda *_: trainer)
    assert trainers.make_trainer(*[None] * 4).cuda_env is None


@pytest.mark.parametrize(("flags", "expected"), [([], (7, None)), (["--cpu"], (5, 7))])
def test_memory_of_a_gpu_needs_no_process_of_its_own(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    expected: tuple[int, int | None],
) -> None:
    worker = SimpleNamespace(
        take_turn=lambda: None, result=lambda: (1.0, {}), peak=lambda: 7, stop=lambda: None
    )
    monkeypatch.setattr(train_step, "Worker", lambda *_: worker)
    monkeypatch.setattr(train_step, "measure_allocated", lambda *_: 5)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    rows = train_step.measure("wmt", Namespace(contenders=["R0"], turns=1, flags=flags))
    assert [(row.allocated, row.resident) for row in rows] == [expected]
    print_table(rows)
    assert (capsys.readouterr().out.split("|")[-2].strip() == "") == (expected[1] is None)


def test_the_command_writes_a_table_and_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    command = [sys.executable, "-m", "benchmarks.train_step", "--csv", str(path), "--phases"]
    command += "--shape multi30k --max-tokens 256 --contenders R0 R4".split()
    command += "--turns 1 --steps 1 -- --cpu --dropout 0.1".split()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["R0", "R4"]
    ratio = float(rows[1]["seconds"]) / float(rows[0]["seconds"])
    assert float(rows[1]["time_over_R0"]) == pytest.approx(ratio)
    # Of processes of their own: where other tests ran before, their freed memory would be enough.
    assert all(float(row[key]) > 0 for row in rows for key in ("allocated_bytes", "resident_bytes"))
    assert rows[1]["time_over_R2"] == ""
    table = [line for line in done.stdout.splitlines() if line.startswith("| multi30k")]
    assert len(table) == 2 and f"{ratio:.2f}" in table[1]


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--lr-drop-hidden-weight=-1", "--lr-drop-hidden-weight"),
        ("--fp-16", "fairseq does not take the flags after --"),
    ],
)
def test_a_contender_that_fails_says_which(tmp_path: Path, flag: str, said: str) -> None:
    command = [sys.executable, "-m", "benchmarks.train_step", "--shape", "multi30k"]
    command += ["--contenders", "R4", "--max-tokens", "256", "--csv", str(tmp_path / "x.csv")]
    command += ["--", flag]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "R4" in done.stderr and said in done.stderr and "killed" not in done.stderr
    assert not (tmp_path / "x.csv").exists()
