"""One row of results.tsv for each cell: what was trained, where, at what cost, and perplexities."""

from __future__ import annotations

import fairseq
import sentencepiece

import lrdrop_fairseq
from examples.study import rows
from examples.study.merged_tables import Row
from examples.study.presets.evaluations import Evaluation
from examples.study.presets.rows import checkpoint_columns
from examples.translation.records.training_log import TrainingLog, read_log


def result_row(evaluation: Evaluation, workers: int, machine: str) -> Row:
    """What came out of a cell, from its log and its scores.

    Perplexities are per piece (``token`` of the model's vocabulary; of words they are one with
    those per word) and per word, the end of a line a piece and a word.

    Raises:
        LogError: the log has no validation.
    """
    log = _log(evaluation)
    scores = [evaluation.scores(subset) for subset in evaluation.cell.data.subsets]
    row = rows.key(evaluation)
    row |= rows.training_columns(evaluation, log, workers, machine)
    row |= {"versions": versions()}
    row |= checkpoint_columns(evaluation, log, scores[0]["parts"])
    for found in scores:
        row |= {
            f"{found['subset']} perplexity per {entry['unit']}": f"{entry['perplexity']:.3f}"
            for entry in found["scores"]
        }
    return row


def curve_rows(evaluation: Evaluation) -> list[Row]:
    """The validation curve of a cell: cross entropy in bits per token."""
    return rows.curve_rows(evaluation, _log(evaluation), "validation nll")


def versions() -> str:
    """Those of what decides the numbers beside torch, which the machine says."""
    found = (fairseq, lrdrop_fairseq, sentencepiece)
    return ", ".join(f"{library.__name__} {library.__version__}" for library in found)


def _log(evaluation: Evaluation) -> TrainingLog:
    """The log with the loss of a plain pass, which has no label smoothing and so no nll beside."""
    return read_log(evaluation.training.train_log, finished=False, loss="loss")
