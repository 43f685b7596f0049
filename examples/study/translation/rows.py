"""One row of results.tsv for each cell: what was trained, where, at what cost, and its scores."""

from __future__ import annotations

from typing import Any

from examples.study import rows
from examples.study.merged_tables import Row
from examples.study.presets.rows import checkpoint_columns
from examples.study.translation.data import data_of
from examples.study.translation.evaluations import Evaluation
from examples.translation.records.training_log import read_log

PENALTY_1 = ", penalty 1"  # ends the columns of the scores with this one, beside the chosen one's


def score_name(title: str) -> str:
    """The name of a metric in the columns: evaluate.sh's title without its remarks."""
    return title.split(" (")[0].split(",")[0]


def result_row(evaluation: Evaluation, workers: int, machine: str) -> Row:
    """What came out of a cell, from its log and its scores.

    Raises:
        LogError: the log has no validation.
    """
    data = data_of(evaluation)
    log = read_log(evaluation.training.train_log, finished=False)
    scores = [evaluation.scores(subset) for subset in data.subsets]
    row = rows.key(evaluation) | {"direction": f"{data.source_lang}-{data.target_lang}"}
    row |= rows.training_columns(evaluation, log, workers, machine)
    row |= checkpoint_columns(evaluation, log, scores[0]["parts"])
    for found in scores:
        row |= _score_columns(found)
    if penalty := evaluation.length_penalty:
        row["length penalty"] = penalty
        for test in data.subsets[1:]:
            row |= _score_columns(evaluation.scores_with_penalty_1(test), PENALTY_1)
    return row


def curve_rows(evaluation: Evaluation) -> list[Row]:
    """The validation curve of a cell: nll in bits per token."""
    log = read_log(evaluation.training.train_log, finished=False)
    return rows.curve_rows(evaluation, log, "validation nll")


def _score_columns(found: dict[str, Any], suffix: str = "") -> Row:
    row = {}
    for entry in found["scores"]:
        name = score_name(entry["title"])
        row[f"{found['subset']} {name}{suffix}"] = f"{entry['value']:.2f}"
        row[f"{name} signature"] = f"beam:{found['beam']}|{entry['signature']}"
    return row
