"""What a row of results.tsv and of curves.tsv has in every kind of study."""

from __future__ import annotations

import datetime
import shlex

from examples.study.cell_jobs import Evaluation
from examples.study.merged_tables import Row
from examples.study.studies import Cell
from examples.translation.records.training_log import TrainingLog

KEY = ("data", "method", "seed")
NEEDED = ("settings", "stopped")  # of results.tsv, by which the runner goes
CURVE_KEY = (*KEY, "updates")


def key(evaluation: Evaluation) -> Row:
    """The columns that say which cell a row is of."""
    cell = evaluation.cell
    return {"data": cell.data.name, "method": cell.method.name, "seed": str(cell.seed)}


def training_columns(evaluation: Evaluation, log: TrainingLog, workers: int, machine: str) -> Row:
    """How a cell was trained, where, and at what cost.

    ``seconds`` count the beginning that it shares with others as if it had trained alone.
    ``variant`` is the same in methods that differ in the terms or in the number of updates alone.
    """
    cell = evaluation.cell
    return {
        "family": cell.method.family,
        "variant": shlex.join(cell.method.plain_flags),
        "settings": evaluation.place.study.settings(cell),
        "stopped": "" if evaluation.training.complete() else "early",
        "updates": str(log.updates),
        "seconds": f"{log.seconds:.0f}",
        "seconds per update": f"{_seconds_per_update(log, cell):.4f}",
        "workers": str(workers),
        "machine": machine,
        "date": datetime.date.today().isoformat(),
        "parameters": str(log.parameters),
    }


def curve_rows(evaluation: Evaluation, log: TrainingLog, column: str) -> list[Row]:
    """The validation curve of a cell by updates and by seconds."""
    return [
        key(evaluation)
        | {
            "updates": str(update),
            "seconds": f"{log.seconds_at(update):.0f}",
            column: f"{loss:.3f}",
        }
        for update, loss in sorted(log.validation.items())
    ]


def _seconds_per_update(log: TrainingLog, cell: Cell) -> float:
    """Of the updates with terms, of a plain training of all; validation and checkpoints included.

    By the clock: the rates that fairseq logs have two decimals.
    """
    start = 0 if cell.method.family == "plain" else cell.method.start
    start = 0 if log.updates <= start else start
    before = log.seconds_at(start) if start else 0.0
    return (log.seconds - before) / (log.updates - start)
