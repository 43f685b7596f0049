"""The scores of a cell of translation, perhaps with the length penalty that suits it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from examples.study.jobs import SCRIPTS
from examples.study.presets import evaluations
from examples.study.processes import Commands
from examples.study.translation.studies import Study
from scripts.runs.json_objects import read_object
from scripts.scores import length_penalty


@dataclass
class Evaluation(evaluations.Evaluation):
    """As evaluate.sh scores by itself, or with the best of the study's length penalties.

    The best one has the highest BLEU on the validation set, each training by itself.
    """

    def score(self, commands: Commands) -> None:
        if not self._penalties:
            super().score(commands)
            return
        options = ("--penalties", ",".join(self._penalties), "--output", self._tried)
        self.run_script(commands, SCRIPTS / "length_penalty.sh", options)
        for path in (self._tried / self.length_penalty).iterdir():
            shutil.copy2(path, self.folder)
        self.evaluate(commands, self.cell.data.subsets[1:], "--lenpen", self.length_penalty)

    @property
    def length_penalty(self) -> str:
        """The one that was taken; empty if the study has none."""
        if not self._penalties:
            return ""
        best: str = read_object(self._tried / length_penalty.NAME)["best"]
        return best

    @property
    def _penalties(self) -> tuple[str, ...]:
        study = self.place.study
        assert isinstance(study, Study)
        return study.length_penalties

    @property
    def _tried(self) -> Path:
        return self.folder / "length_penalty"
