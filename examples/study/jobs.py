"""What a study is made of: jobs that make a folder each.

A job that is complete is not done again, and one that was interrupted goes on. All of it goes
through the project's scripts, as by hand.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
import zlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from examples.study.processes import Commands
from examples.study.studies import Study
from scripts.corpora.prepare_text import TextError
from scripts.runs.complete_files import write

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
# The beginning of a command that goes on with the name of one of the project's modules.
MODULE = (sys.executable, SCRIPTS / "runs" / "run_module.py")


@cache
def digest(path: Path) -> str:
    """SHA-256 of a file's content, compressed or not. Once in a run: data sets share files."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _lines(record: Path) -> list[str]:
    return record.read_text(encoding="utf-8").splitlines() if record.is_file() else []


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

    def sources(self) -> list[Path]:
        """The files that it is made of; TextError where one is missing."""
        return []

    @property
    def record(self) -> Path:
        """Beside the folder: a line of settings, and one for the content of the sources."""
        return self.folder.with_name(f"{self.folder.name}.settings")

    def check(self) -> None:
        """Remember what the folder is made with. ValueError if that was something else."""
        self.check_sources()
        before = _lines(self.record)[:1] or [self.settings]
        if self.folder.is_dir() and before != [self.settings]:
            raise ValueError(
                f"{self.folder} was made with other settings: there '{before[0]}', in the study "
                f"'{self.settings}'. Delete it, and what was trained from it, or give another "
                "--output"
            )
        self.record.parent.mkdir(parents=True, exist_ok=True)
        content = self._content() or "".join(_lines(self.record)[1:2])
        write(self.record, "".join(f"{line}\n" for line in (self.settings, content) if line))

    def check_sources(self) -> None:
        """ValueError if the folder was made of files that hold something else today."""
        before, now = _lines(self.record)[1:2], self._content()
        if self.folder.is_dir() and before and now and before != [now]:
            raise ValueError(
                f"{self.folder} was made of other files than there are now: "
                f"{', '.join(map(str, self.sources()))}. Give another --output, or delete it, what "
                "was trained from it, and its rows in results.tsv"
            )

    def _content(self) -> str:
        """The content of the sources in a word; empty where there are none, or no longer."""
        try:
            digests = "".join(map(digest, self.sources()))
        except (TextError, OSError, EOFError, zlib.error):
            return ""  # making the folder says so; what is made stays of use
        return hashlib.sha256(digests.encode()).hexdigest() if digests else ""

    def complete(self) -> bool:
        raise NotImplementedError

    def run(self, commands: Commands) -> None:
        """Do what is left to do. Failed if that fails; StoppedEarly if the time is up."""
        raise NotImplementedError
