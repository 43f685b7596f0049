"""The jobs of a study: which data, which shared beginnings, and which cells go on from them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from examples.study.jobs import Job, Place
from examples.study.presets.evaluations import Evaluation
from examples.study.presets.preparations import Preparation
from examples.study.presets.studies import Cell
from examples.study.presets.trainings import Training
from examples.study.studies import Method

# A folder of a beginning has its flags in its name, where a file system takes it.
LONGEST_SUFFIX = 150


@dataclass(frozen=True)
class Plan:
    """How a kind makes the jobs of its cells.

    Attributes:
        preparation: the class of the job that makes a data directory.
        scripts: the folder of train.sh and evaluate.sh.
        evaluation: the class of the job that scores a cell.
    """

    preparation: Callable[..., Preparation]
    scripts: Path
    evaluation: Callable[..., Evaluation] = Evaluation

    def jobs(self, place: Place, cells: Sequence[Cell]) -> list[Job]:
        """All jobs of these cells of the study, each after what it needs.

        They begin as the other cells of the study do, even if those are not asked for yet.
        """
        jobs: dict[str, Job] = {}
        starts = _starts(place.study.cells)  # type: ignore[arg-type]
        for cell in cells:
            data = cell.data.name
            folder = place.output / "data" / data
            prepared = self.preparation(f"data {data}", place, folder, data=cell.data)
            needs = [jobs.setdefault(prepared.name, prepared)]
            begins_from = None
            for start in starts.get(_same_beginning(cell), []):
                if start <= _plain_updates(cell):
                    begins_from = self._beginning(place, cell, start, begins_from, needs[0])
                    begins_from = jobs.setdefault(begins_from.name, begins_from)  # type: ignore[assignment]
            folder = place.output / "cells" / cell.name
            needs += [begins_from] if begins_from else []
            name = f"train {cell.name}"
            training = Training(name, place, folder, needs, cell, begins_from, self.scripts)
            evaluation = self.evaluation(
                f"evaluate {cell.name}", place, folder / "eval", [training], training=training
            )
            jobs |= {job.name: job for job in (training, evaluation)}
        return list(jobs.values())

    def _beginning(
        self, place: Place, cell: Cell, start: int, before: Training | None, prepared: Job
    ) -> Training:
        """The plain updates up to ``start``, going on from the beginning ``before``."""
        flags = cell.method.plain_flags
        suffix = "".join(c if c.isalnum() else "_" for c in "".join(flags))
        if len(suffix) > LONGEST_SUFFIX:
            suffix = hashlib.sha256(suffix.encode()).hexdigest()[:16]
        plain = Method(f"plain{start}{suffix}", start=start, updates=start, flags=flags)
        begun = replace(cell, method=plain)
        folder = place.output / "beginnings" / begun.name
        needs: list[Job] = [prepared, before] if before else [prepared]
        return Training(f"begin {begun.name}", place, folder, needs, begun, before, self.scripts)


def _starts(cells: Sequence[Cell]) -> dict[tuple[str, int, tuple[str, ...]], list[int]]:
    """The updates at which terms start, in order, among the cells of each shared beginning."""
    starts: dict[tuple[str, int, tuple[str, ...]], set[int]] = {}
    for cell in cells:
        if cell.method.family != "plain" and cell.method.start:
            starts.setdefault(_same_beginning(cell), set()).add(cell.method.start)
    return {key: sorted(found) for key, found in starts.items()}


def _plain_updates(cell: Cell) -> int:
    """How many updates of a cell are plain, the last one of a plain cell not counted."""
    return cell.method.updates - 1 if cell.method.family == "plain" else cell.method.start


def _same_beginning(cell: Cell) -> tuple[str, int, tuple[str, ...]]:
    """What two cells have in common whose plain updates are the same."""
    return cell.data.name, cell.seed, cell.method.plain_flags
