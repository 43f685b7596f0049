"""The scores of a cell, after which its checkpoints go."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.study import cell_jobs
from examples.study.jobs import MODULE
from examples.study.processes import Commands
from examples.study.sentences.finetunings import Finetuning
from examples.study.sentences.studies import Cell


@dataclass
class Evaluation(cell_jobs.Evaluation):
    """Scores of a cell's best checkpoint on its validation and test set."""

    training: Finetuning = None  # type: ignore[assignment]

    @property
    def cell(self) -> Cell:
        return self.training.cell

    @property
    def _scores(self) -> Path:
        return self.folder / "scores.json"

    def scores(self) -> dict[str, Any]:
        """What score.py has written."""
        found: dict[str, Any] = json.loads(self._scores.read_text(encoding="utf-8"))
        return found

    def score(self, commands: Commands) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        training = self.training
        commands.run(self, [
            *training.environment, *MODULE, "examples.study.sentences.score",
            training.data, training.folder, self._scores, "--metric", self.cell.data.metric,
        ])  # fmt: skip

    def tidy(self) -> None:
        """Delete the checkpoints: those of a whole study would fill a disk."""
        if self.training.study.keep_checkpoints:
            return
        for path in self.training.run_folder.glob("*.pt"):
            path.unlink()
        shutil.rmtree(self.training.folder / "random", ignore_errors=True)
