"""What a study is made of: data to prepare, beginnings to share, cells to train and translate.

A job that is complete is not done again, and one that was interrupted goes on. All of it goes
through scripts/prepare.sh, train.sh and evaluate.sh, as by hand.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import train_record
from complete_files import write
from processes import Commands, Failed
from select_pairs import select_pairs
from studies import WEIGHTS, Cell, Data, Study

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "scripts"
MEASURE = ROOT / "examples" / "translation" / "records" / "measure.py"


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

    def complete(self) -> bool:
        raise NotImplementedError

    def run(self, commands: Commands) -> None:
        """Do what is left to do. Failed if that fails; StoppedEarly if the time is up."""
        raise NotImplementedError


@dataclass
class Preparation(Job):
    """A data directory."""

    data: Data = None  # type: ignore[assignment]

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


@dataclass
class Training(Job):
    """The updates of a cell; or a beginning, up to the update from which cells differ."""

    cell: Cell = None  # type: ignore[assignment]
    begins_from: Training | None = None

    @property
    def _mark(self) -> Path:
        return self.folder / "trained"

    @property
    def data(self) -> Path:
        return self.place.output / "data" / self.cell.data.name

    def complete(self) -> bool:
        return self._mark.is_file() and self._mark.read_text() == self._settings()

    def checkpoint(self) -> list[str | Path] | None:
        """For evaluate.sh, the checkpoint that the study's rule takes; None if there is none yet.

        A training that was stopped early may have fewer to average than the rule says.
        """
        if not self.place.study.average:
            best = self.folder / "checkpoint_best.pt"
            return ["--checkpoint", best] if best.is_file() else None
        there = len(list(self.folder.glob("checkpoint_*_*.pt")))
        count = min(self.place.study.average, there)
        return ["--save-dir", self.folder, "--average", str(count)] if count else None

    def _settings(self) -> str:
        return self.place.study.settings(self.cell) + "\n"

    def run(self, commands: Commands) -> None:
        if self.begins_from and not self.folder.is_dir():
            self._branch(self.begins_from.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        memory = [sys.executable, MEASURE, self.folder / "memory.json"]
        command = [SCRIPTS / "train.sh", self.data, "--save-dir", self.folder, *self._arguments()]
        commands.run(self, [*memory, *command], training=True)
        write(self._mark, self._settings())

    def _branch(self, beginning: Path) -> None:
        """Take the checkpoints, the log and the memory of the beginning; all of it, or nothing.

        Not by --restore-file, with which a run that was killed starts there again.
        """
        aside = self.folder.with_name(f"{self.folder.name}.part")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        for path in beginning.iterdir():
            if path.suffix == ".pt" or path.name in ("train.log", "memory.json"):
                shutil.copy2(path, aside)
        method, preset, seed, flags = self._recorded()
        options = Namespace(method=method, seed=seed, data=self.data, flags=" ".join(flags))
        train_record.keep(aside, train_record.describe(options, preset=preset))
        aside.rename(self.folder)

    def _arguments(self) -> list[str]:
        method, preset, seed, flags = self._recorded()
        return ["--method", method, "--preset", preset, "--seed", str(seed), "--", *flags]

    def _recorded(self) -> tuple[str, str, int, list[str]]:
        """Method, preset, seed and flags for train.sh, which keeps a record of them.

        Every cell goes through LR-Drop's criterion, the plain ones too, whose terms never start:
        so all take the same plain pass, and a checkpoint of one can be gone on from by another.
        """
        study, method = self.place.study, self.cell.method
        start = method.updates if method.family == "plain" else method.start
        every = str(study.validate_every)
        flags = [
            *study.flags, *method.flags,
            *(f"--lr-drop-{name}-weight={getattr(method, name):g}" for name in WEIGHTS),
            f"--lr-drop-start={start}", f"--lr-drop-ramp={method.ramp}",
            "--max-update", str(method.updates), "--patience", "-1",
            "--validate-interval-updates", every, "--save-interval-updates", every,
            "--keep-interval-updates", str(study.average or 1), "--no-epoch-checkpoints",
            "--validate-interval", "1000000", "--save-interval", "1000000",
            "--log-format", "json", "--distributed-world-size", "1",
        ]  # fmt: skip
        if self.place.device == "cpu":
            flags.append("--cpu")
        return "lrdrop", study.preset, self.cell.seed, flags


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

    def run(self, commands: Commands) -> None:
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
