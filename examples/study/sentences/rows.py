"""One row of results.tsv for each cell: what was trained, where, at what cost, and its scores."""

from __future__ import annotations

import json
from pathlib import Path

import rows
from merged_tables import Row
from training_log import RECORD, TrainingLog, number, read_log

from sentences.evaluations import Evaluation

LOSS = "validation loss"


def result_row(evaluation: Evaluation, workers: int, machine: str) -> Row:
    """What came out of a cell, from its log and its scores; losses in bits per sentence.

    Raises:
        LogError: the log has no validation.
    """
    cell = evaluation.cell
    log = read_log(evaluation.training.train_log, finished=False)
    losses = validation_losses(evaluation.training.train_log, log)
    best, found = min(losses, key=lambda update: losses[update]), evaluation.scores()
    row = rows.key(evaluation) | {
        "set": cell.data.set_name,
        "examples": str(cell.data.examples),
    }
    row |= rows.training_columns(evaluation, log, workers, machine)
    if cell.method.from_scratch:
        row["variant"] = " ".join([*filter(None, [row["variant"]]), "from scratch"])
    row |= {
        f"best {LOSS}": f"{losses[best]:.3f}",
        "best at": str(best),
        "checkpoint updates": str(found["checkpoint updates"]),
    }
    for subset, values in found["scores"].items():
        row |= {f"{subset} {metric}": f"{value:.2f}" for metric, value in values.items()}
    return row


def curve_rows(evaluation: Evaluation) -> list[Row]:
    """The validation curve of a cell."""
    path = evaluation.training.train_log
    log = read_log(path, finished=False)
    return rows.curve_rows(evaluation, log, validation_losses(path, log), LOSS)


def validation_losses(path: Path, log: TrainingLog) -> dict[int, float]:
    """Bits per sentence; the log's nll_loss is per token, which says little of a classifier.

    Of two records of one update, which a resumed training has, the later counts.
    """
    losses = {}
    for line_number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        found = RECORD.search(line)
        if found and found.group(1) == "valid":
            record, where = json.loads(found.group(2)), f"{path}:{line_number}"
            update = int(number(record, "valid_num_updates", where))
            losses[update] = number(record, "valid_loss", where)
    return {update: loss for update, loss in losses.items() if update in log.validation}
