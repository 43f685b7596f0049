"""The scores of a cell of translation, perhaps with the length penalty that suits it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.study.jobs import SCRIPTS
from examples.study.presets import evaluations
from examples.study.processes import Commands
from examples.study.translation.studies import Study
from scripts.runs.json_objects import read_object
from scripts.scores import length_penalty


@dataclass
class Evaluation(evaluations.Evaluation):
    """As evaluate.sh scores by itself, or with the best of the study's length penalties.

    The best one has the highest BLEU on the validation set, each training by itself. The test sets
    are then scored with 1, fairseq's default, too: what it gains is not what the training gains.
    """

    def score(self, commands: Commands) -> None:
        if not self._penalties:
            super().score(commands)
            return
        options = ("--penalties", ",".join(self._penalties), "--output", self._tried)
        self.run_script(commands, SCRIPTS / "length_penalty.sh", options)
        for path in (self._tried / self.length_penalty).iterdir():
            if path.is_file():  # a killed run may have left its folder
                shutil.copy2(path, self.folder)
        tests = self.cell.data.subsets[1:]
        self.evaluate(commands, tests, self.folder, "--lenpen", self.length_penalty)
        if self._with_one != self.folder:
            self.evaluate(commands, tests, self._with_one, "--lenpen", "1")

    @property
    def length_penalty(self) -> str:
        """The one that was taken; empty if the study has none."""
        if not self._penalties:
            return ""
        best: str = read_object(self._tried / length_penalty.NAME)["best"]
        return best

    def scores_with_penalty_1(self, subset: str) -> dict[str, Any]:
        """What evaluate.sh found on a test set with length penalty 1."""
        return read_object(self._with_one / f"scores.{subset}.json")

    @property
    def _with_one(self) -> Path:
        return self.folder if self.length_penalty == "1" else self.folder / "penalty_1"

    @property
    def _penalties(self) -> tuple[str, ...]:
        study = self.place.study
        assert isinstance(study, Study)
        return study.length_penalties

    @property
    def _tried(self) -> Path:
        return self.folder / "length_penalty"
