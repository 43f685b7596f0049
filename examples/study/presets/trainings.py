"""The updates of a cell, or those that cells share; through a train.sh."""

from __future__ import annotations

import shutil
import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from examples.study import cell_jobs
from examples.study.jobs import ROOT
from examples.study.presets.studies import Cell, Study
from examples.study.processes import Commands
from scripts.runs import train_record
from scripts.runs.complete_folders import aside

MEASURE = ROOT / "examples" / "translation" / "records" / "measure.py"


@dataclass
class Training(cell_jobs.Training):
    """The updates of a cell; or a beginning, up to the update from which cells differ."""

    cell: Cell = None  # type: ignore[assignment]
    begins_from: Training | None = None
    scripts: Path = None  # type: ignore[assignment]  # the folder of train.sh

    @property
    def study(self) -> Study:
        return self.place.study  # type: ignore[return-value]

    @property
    def data(self) -> Path:
        return self.place.output / "data" / self.cell.data.name

    def scorable(self) -> bool:
        return self.checkpoint() is not None

    def checkpoint(self) -> list[str | Path] | None:
        """For evaluate.sh, the checkpoint that the study's rule takes; None if there is none yet.

        There may be fewer to average than the rule says: of a training that was stopped early, and
        where an update ends an epoch, which leaves no checkpoint of its own.
        """
        if self.study.average in (None, 1):
            one = self.folder / f"checkpoint_{'last' if self.study.average else 'best'}.pt"
            return ["--checkpoint", one] if one.is_file() else None
        there = len(list(self.folder.glob("checkpoint_*_*.pt")))
        count = min(self.study.average, there)
        return ["--save-dir", self.folder, "--average", str(count)] if count else None

    def run(self, commands: Commands) -> None:
        if self.begins_from and not self.folder.is_dir():
            self._branch(self.begins_from.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        command: list[str | Path] = [sys.executable, MEASURE, self.folder / "memory.json"]
        command += [self.scripts / "train.sh", self.data, "--save-dir", self.folder]
        commands.run(self, [*command, *self._arguments()], training=True)
        if self.study.average not in (None, 1):
            self._name_last()
        self.done()

    def _name_last(self) -> None:
        """Name the last checkpoint by its updates, as those before it are, if fairseq has not."""
        updates = self.cell.method.updates
        if not any(self.folder.glob(f"checkpoint_*_{updates}.pt")):
            with aside(self.folder / f"checkpoint_0_{updates}.pt") as partial:
                shutil.copyfile(self.folder / "checkpoint_last.pt", partial)

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
        study, method = self.study, self.cell.method
        start = method.updates if method.family == "plain" else method.start
        every = str(study.validate_every)
        flags = [
            *study.flags, *method.flags,
            *method.weight_flags,
            f"--lr-drop-start={start}", f"--lr-drop-ramp={method.ramp}",
            "--max-update", str(method.updates),
            "--validate-interval-updates", every, "--save-interval-updates", every,
            "--keep-interval-updates", str(study.average or 1), "--no-epoch-checkpoints",
            "--validate-interval", "1000000", "--save-interval", "1000000",
            "--log-format", "json", "--distributed-world-size", "1",
        ]  # fmt: skip
        if self.place.device == "cpu":
            flags.append("--cpu")
        return "lrdrop", study.preset, self.cell.seed, flags
