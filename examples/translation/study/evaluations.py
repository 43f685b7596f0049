"""Translations and scores of a cell; through scripts/evaluate.sh."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import SCRIPTS, Job
from processes import Commands, Failed
from studies import Cell
from trainings import Training


@dataclass
class Evaluation(Job):
    """Translations and scores of a cell's chosen checkpoint, with which the cell is complete."""

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

    def scores(self, subset: str) -> dict[str, Any]:
        """What evaluate.sh found on a subset."""
        text = (self.folder / f"scores.{subset}.json").read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)
        return found

    def check(self) -> None:
        """Its training has been checked."""

    def run(self, commands: Commands) -> None:
        if self.complete():  # the runner was killed before it wrote the row
            return
        self._mark.unlink(missing_ok=True)
        began = time.monotonic()
        checkpoint = self.training.checkpoint()
        if checkpoint is None:
            raise Failed(f"{self.training.folder} has no checkpoint to translate with")
        device = ["--", "--cpu"] if self.place.device == "cpu" else []
        for subset in self.cell.data.subsets:
            commands.run(self, [
                SCRIPTS / "evaluate.sh", self.training.data, *checkpoint, "--subset", subset,
                "--output", self.folder, *device,
            ])  # fmt: skip
        self.seconds = time.monotonic() - began
        # Of a training that was stopped early it is to be done again when that has gone on.
        if self.training.complete():
            self._mark.touch()
