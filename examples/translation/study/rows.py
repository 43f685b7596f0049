"""One row of results.tsv for each cell: what was trained, where, at what cost, and its scores."""

from __future__ import annotations

import datetime
import json
import shlex
from pathlib import Path
from typing import Any

from evaluations import Evaluation
from merged_tables import Row
from studies import Cell
from training_log import TrainingLog, read_log

KEY = ("data", "method", "seed")
CURVE_KEY = (*KEY, "updates")


def score_name(title: str) -> str:
    """The name of a metric in the columns: evaluate.sh's title without its remarks."""
    return title.split(" (")[0].split(",")[0]


def key(evaluation: Evaluation) -> Row:
    cell = evaluation.cell
    return {"data": cell.data.name, "method": cell.method.name, "seed": str(cell.seed)}


def result_row(evaluation: Evaluation, workers: int, machine: str) -> Row:
    """What came out of a cell, from its log and its scores.

    ``seconds`` count the beginning that it shares with others as if it had trained alone,
    ``checkpoint seconds`` go up to the update of the scored checkpoint.

    Raises:
        LogError: the log has no validation.
    """
    folder, cell, study = evaluation.training.folder, evaluation.cell, evaluation.place.study
    log = read_log(folder / "train.log", finished=False)
    scores = [evaluation.scores(subset) for subset in cell.data.subsets]
    parts = scores[0]["parts"]
    reached = max(part["num_updates"] for part in parts)
    best = min(log.validation, key=lambda update: log.validation[update])
    last = max(log.validation)
    direction = f"{cell.data.source_lang}-{cell.data.target_lang}"
    row = key(evaluation) | {
        "direction": direction,
        "family": cell.method.family,
        "variant": shlex.join(cell.method.plain_flags),
        "settings": study.settings(cell),
        "stopped": "" if evaluation.training.complete() else "early",
        "updates": str(log.updates),
        "seconds": f"{log.seconds:.0f}",
        "seconds per update": f"{_seconds_per_update(log, cell):.4f}",
        "workers": str(workers),
        "machine": machine,
        "date": datetime.date.today().isoformat(),
        "parameters": str(log.parameters),
        "peak MiB": _peak_mib(folder, log),
        "best validation nll": f"{log.validation[best]:.3f}",
        "best at": str(best),
        "last validation nll": f"{log.validation[last]:.3f}",
        "checkpoint": f"average of {len(parts)}" if study.average else study.rule,
        "checkpoint updates": str(reached),
        "checkpoint seconds": f"{log.seconds_at(reached):.0f}",
    }
    for found in scores:
        row |= _score_columns(found)
    return row


def curve_rows(evaluation: Evaluation) -> list[Row]:
    """The validation curve of a cell: nll in bits per token by updates and by seconds."""
    log = read_log(evaluation.training.folder / "train.log", finished=False)
    return [
        key(evaluation)
        | {
            "updates": str(update),
            "seconds": f"{log.seconds_at(update):.0f}",
            "validation nll": f"{loss:.3f}",
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
