"""The kinds of task that a study can be of, and what the runner asks of one.

A kind is a package beside this file whose module ``kind`` has a ``KIND``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from examples.study.cell_jobs import Evaluation
from examples.study.jobs import Job, Place
from examples.study.merged_tables import Row
from examples.study.studies import Cell, Study
from examples.study.study_fields import Fields, StudyError

DEFAULT = "translation"
NAMES = (DEFAULT, "sentences", "language")

Rows = Sequence[Row]
AnyCell = TypeVar("AnyCell", bound=Cell)
AnyEvaluation = TypeVar("AnyEvaluation", bound=Evaluation)


@dataclass(frozen=True)
class Kind(Generic[AnyCell, AnyEvaluation]):
    """All that differs between kinds of task.

    Attributes:
        read: the study in the fields of a file; relative folders are taken from the given one.
        plan: the jobs of cells, each after what it needs; the last of a cell is an Evaluation.
        row: the row of results.tsv of a scored cell; with the number of workers and the machine.
        curve: its rows of curves.tsv.
        report: table.md from results, curves, comparisons, and the methods in their order.
        draw: the plots into a folder, from results, curves and methods; of complete cells alone.
        compare: further tests of what has been scored here that are not among the known ones.
        compare_key: the columns that tell those rows apart.
    """

    read: Callable[[Fields, Path], Study]
    plan: Callable[[Place, Sequence[AnyCell]], list[Job]]
    row: Callable[[AnyEvaluation, int, str], Row]
    curve: Callable[[AnyEvaluation], list[Row]]
    report: Callable[[Rows, Rows, Rows, Sequence[str]], str]
    draw: Callable[[Rows, Rows, Sequence[str], Path], None]
    compare: Callable[[Sequence[AnyEvaluation], Rows], Iterator[list[Row]]] | None = None
    compare_key: tuple[str, ...] = ()


def kind_of(name: str) -> Kind[Any, Any]:
    """The kind of this name. StudyError if there is none."""
    if name not in NAMES:
        raise StudyError(f"kind must be {' or '.join(NAMES)}, not {name!r}")
    found: Kind[Any, Any] = importlib.import_module(f"examples.study.{name}.kind").KIND
    return found
