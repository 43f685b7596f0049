"""The scores of a cell; through an evaluate.sh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.study import cell_jobs
from examples.study.presets.studies import Cell
from examples.study.presets.trainings import Training
from examples.study.processes import Commands, Failed
from scripts.runs.json_objects import read_object


@dataclass
class Evaluation(cell_jobs.Evaluation):
    """The scores of a cell's chosen checkpoint on all of its data's subsets."""

    training: Training = None  # type: ignore[assignment]

    @property
    def cell(self) -> Cell:
        return self.training.cell

    def scores(self, subset: str) -> dict[str, Any]:
        """What evaluate.sh found on a subset."""
        return read_object(self.folder / f"scores.{subset}.json")

    def score(self, commands: Commands) -> None:
        self.evaluate(commands, self.cell.data.subsets, self.folder)

    def evaluate(
        self, commands: Commands, subsets: Sequence[str], output: Path, *flags: str
    ) -> None:
        """evaluate.sh on these subsets; flags are those behind its ``--``."""
        script = self.training.scripts / "evaluate.sh"
        for subset in subsets:
            options = ("--subset", subset, "--output", output)
            self.run_script(commands, script, options, flags)

    def run_script(
        self,
        commands: Commands,
        script: Path,
        options: Sequence[str | Path],
        flags: Sequence[str] = (),
    ) -> None:
        """A script that scores the chosen checkpoint; flags are those behind its ``--``."""
        checkpoint = self.training.checkpoint()
        if checkpoint is None:
            raise Failed(f"{self.training.folder} has no checkpoint to score")
        if self.place.device == "cpu":
            flags = (*flags, "--cpu")
        command = [script, self.training.data, *checkpoint, *options, "--", *flags]
        commands.run(self, command)
