"""The two jobs of every cell, whatever its kind: a training, and the evaluation of what it made."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from examples.study.jobs import Job
from examples.study.processes import Commands
from examples.study.studies import Cell


@dataclass
class Training(Job):
    """The updates of a cell. A kind says how: :meth:`run` ends in :meth:`done`."""

    cell: Cell = None  # type: ignore[assignment]

    @property
    def _mark(self) -> Path:
        return self.folder / "trained"

    @property
    def settings(self) -> str:
        return self.place.study.settings(self.cell)

    @property
    def train_log(self) -> Path:
        """What fairseq has logged."""
        return self.folder / "train.log"

    def complete(self) -> bool:
        return self._mark.is_file()

    def done(self) -> None:
        """It has come to its end."""
        self._mark.touch()

    def scorable(self) -> bool:
        """Whether there is something to score, of a training that was stopped early."""
        raise NotImplementedError


@dataclass
class Evaluation(Job):
    """The scores of a cell, with which it is complete. A kind says how."""

    training: Training = None  # type: ignore[assignment]
    seconds: float = 0.0

    @property
    def cell(self) -> Cell:
        return self.training.cell

    @property
    def _mark(self) -> Path:
        return self.folder / "evaluated"

    def complete(self) -> bool:
        return self.training.complete() and self._mark.is_file()

    def check(self) -> None:
        """Its training has been checked."""

    def run(self, commands: Commands) -> None:
        if not self.complete():  # or the runner was killed before it wrote the row
            self._mark.unlink(missing_ok=True)
            began = time.monotonic()
            self.score(commands)
            self.seconds = time.monotonic() - began
        # Of a training that was stopped early it is to be done again when that has gone on.
        if self.training.complete():
            self._mark.touch()
            self.tidy()

    def score(self, commands: Commands) -> None:
        """Write the scores into the folder."""
        raise NotImplementedError

    def tidy(self) -> None:
        """Delete what is no more needed now."""
