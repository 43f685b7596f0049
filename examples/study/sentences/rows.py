"""One row of results.tsv for each cell: what was trained, where, at what cost, and its scores."""

from __future__ import annotations

from examples.study import rows
from examples.study.merged_tables import Row
from examples.study.sentences.evaluations import Evaluation
from examples.translation.records.training_log import TrainingLog, read_log

LOSS = "validation loss"


def result_row(evaluation: Evaluation, workers: int, machine: str) -> Row:
    """What came out of a cell, from its log and its scores; losses in bits per sentence.

    Raises:
        LogError: the log has no validation.
    """
    cell = evaluation.cell
    log, found = _log(evaluation), evaluation.scores()
    best = min(log.validation, key=lambda update: log.validation[update])
    row = rows.key(evaluation) | {
        "set": cell.data.set_name,
        "examples": str(cell.data.examples),
    }
    row |= rows.training_columns(evaluation, log, workers, machine)
    if cell.method.from_scratch:
        row["variant"] = " ".join([*filter(None, [row["variant"]]), "from scratch"])
    row |= {
        f"best {LOSS}": f"{log.validation[best]:.3f}",
        "best at": str(best),
        "checkpoint updates": str(found["checkpoint updates"]),
    }
    for subset, values in found["scores"].items():
        row |= {f"{subset} {metric}": f"{value:.2f}" for metric, value in values.items()}
    return row


def curve_rows(evaluation: Evaluation) -> list[Row]:
    """The validation curve of a cell."""
    log = _log(evaluation)
    return rows.curve_rows(evaluation, log, LOSS)


def _log(evaluation: Evaluation) -> TrainingLog:
    """The log, with the validation loss per sentence; nll_loss is that per token."""
    return read_log(evaluation.training.train_log, finished=False, loss="loss")
