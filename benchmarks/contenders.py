"""The training steps that are compared, each with fairseq's own trainer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from fairseq.tasks.language_modeling import LanguageModelingTask
from fairseq.tasks.translation import TranslationTask

from benchmarks.machine import bytes_in_use, peak_bytes, release
from benchmarks.shapes import Shape, dictionary, make_batches
from benchmarks.trainers import make_config, make_trainer
from lrdrop_fairseq import attention
from lrdrop_fairseq.criterions import next_word as lr_drop
from lrdrop_fairseq.siamese import duplicate

_SMOOTHING = "--label-smoothing 0.1"
_LR_DROP = f"--criterion lr_drop_label_smoothed_cross_entropy --lr-drop-start 0 {_SMOOTHING}"
_NO_TERMS = "--lr-drop-hidden-weight 0 --lr-drop-attention-weight 0 --lr-drop-output-weight 0"

# The flags of each contender's criterion.
CONTENDERS = {
    # plain cross entropy
    "R0": f"--criterion label_smoothed_cross_entropy {_SMOOTHING}",
    # LR-Drop before its start: one pass, chunked output loss
    "R0f": f"{_LR_DROP} --lr-drop-start 1000000000",
    # plain, the batch twice
    "R1": f"--criterion label_smoothed_cross_entropy {_SMOOTHING}",
    # plain, two passes, chunked output loss
    "R1f": f"{_LR_DROP} {_NO_TERMS}",
    # fairseq's R-Drop
    "R2": f"--criterion label_smoothed_cross_entropy_with_rdrop {_SMOOTHING} --rdrop-alpha 5",
    # LR-Drop, its losses in their plain forms
    "R3": _LR_DROP,
    # LR-Drop
    "R4": _LR_DROP,
}
PHASES = ("forward", "losses", "backward", "optimizer")
# fp16 starts with a loss scale that may be too large by as many factors of 2.
MOST_OVERFLOWS = 30


def criterion_flags(name: str, task: str) -> list[str]:
    """The flags of a contender's criterion; language models have no label smoothing.

    fairseq's R-Drop, which has no criterion without, smooths by 0.
    """
    flags = CONTENDERS[name]
    if task == "language_modeling":
        if name == "R2":
            return flags.replace(_SMOOTHING, "--label-smoothing 0").split()
        flags = flags.replace(_SMOOTHING, "").replace("label_smoothed_cross", "cross")
    return flags.split()


class TrainStep:
    """One contender with a model, an optimizer and the fixed batches of its own.

    Attributes:
        overflows: updates that fairseq has skipped, because fp16 overflowed.
    """

    def __init__(self, name: str, shape: Shape, n_batches: int, flags: list[str]) -> None:
        self._patches = plain_forms if name == "R3" else _no_patch
        self.overflows = 0
        common = ["--task", shape.task, "--max-tokens", str(shape.max_tokens), *shape.flags]
        config = make_config([*common, *criterion_flags(name, shape.task), *flags])
        words = dictionary(shape.vocabulary)
        batches = make_batches(shape, words, n_batches)
        self.batches = [_twice(batch) for batch in batches] if name == "R1" else batches
        self._cuda = torch.cuda.is_available() and not config.common.cpu
        self._before = bytes_in_use(self._cuda)
        torch.manual_seed(1)
        task: Any
        if shape.task == "language_modeling":
            task = LanguageModelingTask(config.task, words)
        else:
            task = TranslationTask(config.task, words, words)
        criterion = task.build_criterion(config.criterion)
        if name == "R1f":
            criterion.__class__ = _two_plain_passes(type(criterion))
        self.trainer = make_trainer(config, task, task.build_model(config.model), criterion)

    def run(self, batch: int) -> float:
        """Seconds of one update on a batch, up to the end of its work on the device.

        One that overflows is tried again, with the smaller loss scale that fairseq then takes; it
        has no optimizer step and does not count.

        Raises:
            RuntimeError: every try overflowed, or memory ran out.
        """
        updates = self.trainer.get_num_updates()
        for _ in range(MOST_OVERFLOWS):
            self._wait()
            start = time.perf_counter()
            with self._patches():
                # Without raise_oom, fairseq skips a batch that is too large for the memory.
                self.trainer.train_step([self.batches[batch]], raise_oom=True)
            self._wait()
            seconds = time.perf_counter() - start
            if self.trainer.get_num_updates() > updates:
                return seconds
            self.overflows += 1
        raise RuntimeError(f"{MOST_OVERFLOWS} updates one after the other have overflowed")

    def run_phases(self, batch: int) -> dict[str, float]:
        """Seconds of each of ``PHASES`` in one update.

        What the losses do on the way to the gradients counts as "losses" where the chunked
        output loss computes them in its forward.

        Raises:
            RuntimeError: it overflowed, which it should not after :meth:`run`, or memory ran out.
        """
        marks: dict[str, float] = {}
        trainer, updates = self.trainer, self.trainer.get_num_updates()

        def mark(name: str) -> Callable[..., None]:
            def write(*_: Any) -> None:
                self._wait()
                marks[name] = time.perf_counter()

            return write

        handles = [
            trainer.model.register_forward_hook(mark("forward")),
            trainer.criterion.register_forward_hook(mark("losses")),
        ]
        original = trainer.optimizer.backward

        def backward(loss: torch.Tensor) -> None:
            original(loss)
            mark("backward")()

        self._wait()
        previous = time.perf_counter()
        with mock.patch.object(trainer.optimizer, "backward", backward), self._patches():
            trainer.train_step([self.batches[batch]], raise_oom=True)
        mark("optimizer")()
        if trainer.get_num_updates() == updates:
            raise RuntimeError("the update whose phases were timed has overflowed")
        for handle in handles:
            handle.remove()
        seconds = {}
        for phase in PHASES:
            seconds[phase], previous = marks[phase] - previous, marks[phase]
        return seconds

    def rest(self) -> None:
        """Give freed memory back to the system, so that all contenders fit side by side."""
        if self._cuda:
            torch.cuda.empty_cache()
        else:
            release()

    def peak(self) -> int:
        """Highest memory in use so far: model, optimizer and all that a step needs, in bytes."""
        return peak_bytes(self._before, self._cuda)

    def _wait(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()


def _twice(batch: dict[str, Any]) -> dict[str, Any]:
    """The same sentences twice, as an ordinary batch."""
    double = duplicate(batch)
    double["target"] = torch.cat([batch["target"]] * 2)
    return {**double, "ntokens": 2 * batch["ntokens"], "nsentences": 2 * batch["nsentences"]}


def _two_plain_passes(base: Any) -> type:
    class TwoPlainPasses(base):
        """LR-Drop without any term still takes both passes: the floor of what LR-Drop can cost."""

        siamese = True

    return TwoPlainPasses


@contextmanager
def plain_forms() -> Iterator[None]:
    """Let LR-Drop compute its losses as their formulas read."""
    with (
        mock.patch.object(lr_drop, "output_projection", lambda model: None),
        mock.patch.object(attention, "LARGEST_MAP", float("inf")),
    ):
        yield


@contextmanager
def _no_patch() -> Iterator[None]:
    yield
