"""The scores of a cell of translation, perhaps with the length penalty that suits it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from examples.study.presets import evaluations
from examples.study.processes import Commands
from examples.study.translation.studies import Study


@dataclass
class Evaluation(evaluations.Evaluation):
    """As evaluate.sh scores by itself, or with the best of the study's length penalties.

    The best one has the highest BLEU on the validation set, each training by itself; of equal ones
    it is the first.
    """

    def score(self, commands: Commands) -> None:
        study = self.place.study
        assert isinstance(study, Study)
        penalties = study.length_penalties
        if not penalties:
            super().score(commands)
            return
        valid, *tests = self.cell.data.subsets
        folders = {penalty: self.folder / f"lenpen-{penalty}" for penalty in penalties}
        for penalty, folder in folders.items():
            self.run_script(commands, [valid], folder, "--lenpen", penalty)
        best = max(penalties, key=lambda penalty: self._bleu(folders[penalty], valid))
        for path in folders[best].iterdir():
            shutil.copy2(path, self.folder)
        self.run_script(commands, tests, self.folder, "--lenpen", best)

    def _bleu(self, folder: Path, subset: str) -> float:
        """By which a data set is judged: the first of the scores."""
        text = (folder / f"scores.{subset}.json").read_text(encoding="utf-8")
        return float(json.loads(text)["scores"][0]["value"])

    @property
    def length_penalty(self) -> str:
        """The one that was taken; empty if the study has none."""
        found = re.search(r"--lenpen (\S+)", self.scores("valid")["flags"])
        return found[1] if found else ""
