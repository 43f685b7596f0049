"""When the terms act: not at all, then rising to their full weights, by the number of updates."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fairseq.tasks import FairseqTask

from lrdrop_fairseq.compat.refusals import Refused


@dataclass(frozen=True)
class Schedule:
    """When the terms start, and how long they rise then; both in updates of the optimizer."""

    start: int = 0
    ramp: int = 0

    @classmethod
    def of_options(cls, start: float, ramp: float, max_update: int) -> Schedule:
        """``--lr-drop-start`` and ``--lr-drop-ramp``: updates, or below 1 parts of ``max_update``.

        Raises:
            ValueError: one of the two is negative, no whole number of updates, or a part of an
                unlimited training.
        """
        options = {"start": start, "ramp": ramp}
        return cls(**{name: _updates(name, value, max_update) for name, value in options.items()})

    @property
    def constant(self) -> bool:
        """Whether the terms have their full weights from the first update on."""
        return self.start == 0 and self.ramp == 0

    def strength(self, update: int) -> float:
        """Factor of all weights in the update after ``update`` finished ones, from 0 to 1.

        With start 10 and ramp 4: 0 up to update 9, then 1/4, 2/4, 3/4, and 1 from update 13 on.
        """
        if update < self.start:
            return 0.0
        return min(1.0, (update - self.start + 1) / self.ramp) if self.ramp else 1.0


def _updates(name: str, value: float, max_update: int) -> int:
    if not (math.isfinite(value) and value >= 0) or (value > 1 and value % 1):
        raise Refused(
            f"--lr-drop-{name} is {value}: it must be a number of updates, or below 1 a part of "
            "--max-update"
        )
    if value == 0 or value >= 1:
        return int(value)
    if max_update <= 0:
        for_pretrained = " (0 for a pretrained model)" if name == "start" else ""
        raise Refused(
            f"--lr-drop-{name} {value} is a part of --max-update, which is not given: give it, or "
            f"a number of updates for --lr-drop-{name}{for_pretrained}"
        )
    return max(1, round(value * max_update))


class UpdateCounter:
    """The number of finished updates, as fairseq's trainer tells it to the task.

    The trainer is the one who knows it: it goes on counting after a resume, counts once for all
    batches of ``--update-freq`` and in every process, and not where an overflow skips an update.
    It tells the task alone, in ``train_step``, so this listens there.
    """

    def __init__(self, task: Any) -> None:
        self.updates: int | None = None
        original = task.train_step
        signature = inspect.signature(FairseqTask.train_step)

        @functools.wraps(original)
        def train_step(*args: Any, **kwargs: Any) -> Any:
            # By keyword, as fairseq's trainer does, or in the place that it has in every task.
            self.updates = (signature.bind_partial(task, *args).arguments | kwargs)["update_num"]
            return original(*args, **kwargs)

        task.train_step = train_step

    @contextmanager
    def at(self, updates: int) -> Iterator[None]:
        """Inside the block as after that many updates."""
        before, self.updates = self.updates, updates
        try:
            yield
        finally:
            self.updates = before

    def read(self) -> int:
        """The number; ValueError before the first step."""
        if self.updates is None:
            raise ValueError(
                "--lr-drop-start and --lr-drop-ramp need the number of updates, which fairseq's "
                "trainer tells the task's train_step: call that to train, as fairseq-train does, "
                "or set both to 0"
            )
        return self.updates
