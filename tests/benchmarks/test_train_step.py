"""The benchmark runs, and its contenders are what their names say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch

from benchmarks import contenders, trainers
from benchmarks.contenders import CONTENDERS, PHASES, TrainStep
from benchmarks.shapes import SHAPES, Shape, dictionary, make_batches
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


def test_the_floors_take_one_and_two_passes_and_the_plain_forms_are_plain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, passes in (("R0f", 1), ("R1f", 2)):
        step = contender(name)
        encoder = mock.Mock(return_value=None)
        step.trainer.model.encoder.register_forward_pre_hook(
            lambda _, args, watch=encoder: watch(args[0].size(0))
        )
        chunked = mock.Mock(wraps=lr_drop.chunked_output_terms)
        with mock.patch.object(lr_drop, "chunked_output_terms", chunked):
            step.run(0)
        encoder.assert_called_once_with(passes * step.batches[0]["target"].size(0))
        chunked.assert_called_once()
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


def test_an_update_is_an_update_and_its_phases_are_its_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = contender("R4")
    before = [p.clone() for p in step.trainer.model.parameters()]
    seconds = step.run(0)
    assert seconds > 0 and step.trainer.get_num_updates() == 1
    assert any(not torch.equal(a, b) for a, b in zip(before, step.trainer.model.parameters()))
    # A clock that goes on when a part of the update is done.
    ended: list[str] = []
    trainer = step.trainer
    trainer.model.register_forward_hook(lambda *_: ended.append("forward"))
    trainer.criterion.register_forward_hook(lambda *_: ended.append("losses"))
    for method in ("backward", "step"):
        original = getattr(trainer.optimizer, method)

        def ends(
            *args: Any, original: Any = original, method: str = method, **options: Any
        ) -> None:
            original(*args, **options)
            ended.append(method)

        monkeypatch.setattr(trainer.optimizer, method, ends)
    clock = SimpleNamespace(perf_counter=lambda: len(ended))
    monkeypatch.setattr(contenders, "time", clock)
    assert step.run_phases(1) == dict.fromkeys(PHASES, 1)
    assert ended == ["forward", "losses", "backward", "step"]
    monkeypatch.setattr(trainer, "get_num_updates", lambda: 7)
    with pytest.raises(RuntimeError, match="overflowed"):
        step.run_phases(1)


@pytest.mark.long
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
