"""What a study is made of: jobs that make a folder each, and the first kind of them, its data.

A job that is complete is not done again, and one that was interrupted goes on. All of it goes
through scripts/prepare.sh, train.sh and evaluate.sh, as by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from complete_files import write
from processes import Commands
from select_pairs import select_pairs
from studies import Data, Study

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "scripts"


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


@dataclass
class Preparation(Job):
    """A data directory."""

    data: Data = None  # type: ignore[assignment]

    @property
    def settings(self) -> str:
        return self.data.settings

    def complete(self) -> bool:
        return (self.folder / "prepare.json").is_file()

    def run(self, commands: Commands) -> None:
        data, train = self.data, self.data.text / self.data.train
        languages = (data.source_lang, data.target_lang)
        if data.pairs:
            train = self.place.output / "text" / data.name / "train"
            select_pairs(data.text / data.train, languages, data.pairs, train)
        text = ["--vocab-size", str(data.vocab_size)] if data.vocab_size else ["--pretokenized"]
        tests = ",".join(str(data.text / name) for name in data.test)
        commands.run(self, [
            SCRIPTS / "prepare.sh", "--source-lang", data.source_lang,
            "--target-lang", data.target_lang, "--train", train, "--valid", data.text / data.valid,
            "--test", tests, "--output", self.folder, *text,
        ])  # fmt: skip
