"""What a study is made of: jobs that make a folder each.

A job that is complete is not done again, and one that was interrupted goes on. All of it goes
through the project's scripts, as by hand.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from examples.study.processes import Commands
from examples.study.studies import Study
from scripts.runs.complete_files import write

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
# The beginning of a command that goes on with the name of one of the project's modules.
MODULE = (sys.executable, SCRIPTS / "runs" / "run_module.py")


@dataclass(frozen=True)
class Place:
    """Where a study works, and on what."""

    study: Study
    output: Path
    device: str  # cpu or cuda


@dataclass
class Job:
    """Something to do after what it needs. ``folder``: what it makes; ``log``: what it says."""

    name: str
    place: Place
    folder: Path
    needs: list[Job] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.out")

    @property
    def settings(self) -> str:
        """What decides what the folder holds, in one line."""
        raise NotImplementedError

    def check(self) -> None:
        """Remember the settings beside the folder. ValueError if it was made with others."""
        record = self.folder.with_name(f"{self.folder.name}.settings")
        before = record.read_text(encoding="utf-8").strip() if record.is_file() else self.settings
        if self.folder.is_dir() and before != self.settings:
            raise ValueError(
                f"{self.folder} was made with other settings: there '{before}', in the study "
                f"'{self.settings}'. Delete it, and what was trained from it, or give another "
                "--output"
            )
        record.parent.mkdir(parents=True, exist_ok=True)
        write(record, self.settings + "\n")

    def complete(self) -> bool:
        raise NotImplementedError

    def run(self, commands: Commands) -> None:
        """Do what is left to do. Failed if that fails; StoppedEarly if the time is up."""
        raise NotImplementedError
