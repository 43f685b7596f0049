"""The scores of a cell of translation, perhaps with the length penalty that suits it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass

from examples.study.jobs import SCRIPTS
from examples.study.presets import evaluations
from examples.study.processes import Commands
from examples.study.translation.studies import Study


@dataclass
class Evaluation(evaluations.Evaluation):
    """As evaluate.sh scores by itself, or with the best of the study's length penalties.

    The best one has the highest BLEU on the validation set, each training by itself.
    """

    def score(self, commands: Commands) -> None:
        study = self.place.study
        assert isinstance(study, Study)
        if not study.length_penalties:
            super().score(commands)
            return
        tests = self.cell.data.subsets[1:]
        tried = self.folder / "length_penalty"
        options = ("--penalties", ",".join(study.length_penalties), "--output", tried)
        self.run_script(commands, SCRIPTS / "length_penalty.sh", options)
        best = json.loads((tried / "length_penalty.json").read_text(encoding="utf-8"))["best"]
        for path in (tried / best).iterdir():
            shutil.copy2(path, self.folder)
        self.evaluate(commands, tests, "--lenpen", best)

    @property
    def length_penalty(self) -> str:
        """The one that was taken; empty if the study has none."""
        found = re.search(r"--lenpen (\S+)", self.scores("valid")["flags"])
        return found[1] if found else ""
