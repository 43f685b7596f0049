"""One row of results.tsv for each cell: what was trained, where, at what cost, and its scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from examples.study import rows
from examples.study.merged_tables import Row
from examples.study.translation.evaluations import Evaluation
from examples.translation.records.training_log import TrainingLog, read_log


def score_name(title: str) -> str:
    """The name of a metric in the columns: evaluate.sh's title without its remarks."""
    return title.split(" (")[0].split(",")[0]


def result_row(evaluation: Evaluation, workers: int, machine: str) -> Row:
    """What came out of a cell, from its log and its scores.

    ``checkpoint seconds`` go up to the update of the scored checkpoint.

    Raises:
        LogError: the log has no validation.
    """
    training, cell = evaluation.training, evaluation.cell
    log = read_log(training.train_log, finished=False)
    scores = [evaluation.scores(subset) for subset in cell.data.subsets]
    parts = scores[0]["parts"]
    reached = max(part["num_updates"] for part in parts)
    best = min(log.validation, key=lambda update: log.validation[update])
    last = max(log.validation)
    row = rows.key(evaluation) | {"direction": f"{cell.data.source_lang}-{cell.data.target_lang}"}
    row |= rows.training_columns(evaluation, log, workers, machine)
    row |= {
        "peak MiB": _peak_mib(training.folder, log),
        "best validation nll": f"{log.validation[best]:.3f}",
        "best at": str(best),
        "last validation nll": f"{log.validation[last]:.3f}",
        "checkpoint": f"average of {len(parts)}" if training.study.average else training.study.rule,
        "checkpoint updates": str(reached),
        "checkpoint seconds": f"{log.seconds_at(reached):.0f}",
    }
    for found in scores:
        row |= _score_columns(found)
    return row


def curve_rows(evaluation: Evaluation) -> list[Row]:
    """The validation curve of a cell: nll in bits per token."""
    log = read_log(evaluation.training.train_log, finished=False)
    return rows.curve_rows(evaluation, log, "validation nll")


def _score_columns(found: dict[str, Any]) -> Row:
    row = {}
    for entry in found["scores"]:
        name = score_name(entry["title"])
        row[f"{found['subset']} {name}"] = f"{entry['value']:.2f}"
        row[f"{name} signature"] = f"beam:{found['beam']}|{entry['signature']}"
    return row


def _peak_mib(folder: Path, log: TrainingLog) -> str:
    """Most memory in use: on a GPU as torch counts it, else of the training process.

    Empty if the process was killed before that could be written down.
    """
    if log.gpu_peak_mib:
        return f"{log.gpu_peak_mib:.0f}"
    record = folder / "memory.json"
    if not record.is_file():
        return ""
    return f"{json.loads(record.read_text(encoding='utf-8'))['peak_memory_mib']:.0f}"
