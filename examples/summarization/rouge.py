"""ROUGE of summaries, document by document, and the sentences that ROUGE-Lsum needs.

ROUGE-L compares sentence with sentence: a hypothesis is a line of text, which pysbd divides by
rules (it downloads nothing). A reference has its sentences between tabs; where a file has no tabs
at all, it is divided too.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.corpora.prepare_text import TextError, read_lines

METRICS = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeLsum": "ROUGE-Lsum"}
SETTINGS = {
    "library": f"rouge-score {version('rouge-score')}",
    "stemmer": "Porter",
    "sentences": f"pysbd {version('pysbd')}",
}


class Sentences:
    """Divides English text into sentences."""

    def __init__(self) -> None:
        import pysbd

        self.segmenter: Any = pysbd.Segmenter(language="en", clean=False)

    def __call__(self, text: str) -> list[str]:
        divided = map(str.strip, self.segmenter.segment(text)) if text else []
        return [sentence for sentence in divided if sentence]


def read_references(path: Path) -> list[list[str]]:
    """The sentences of each reference of a file with one reference a line."""
    lines = list(read_lines(path))
    if not any("\t" in line for line in lines):
        return list(map(Sentences(), lines))
    return [[sentence for sentence in line.split("\t") if sentence] for line in lines]


def read_hypotheses(path: Path, count: int) -> list[list[str]]:
    """The sentences of each summary; TextError unless there are ``count`` of them."""
    lines = list(read_lines(path))
    if len(lines) != count:
        raise TextError(
            f"{path} has {len(lines)} lines, but the reference has {count}: they are not of one "
            "test set"
        )
    return list(map(Sentences(), lines))


def score(hypotheses: list[list[str]], references: list[list[str]]) -> NDArray[np.float64]:
    """Precision, recall and F1 of each document and metric, between 0 and 1.

    Args:
        hypotheses, references: the sentences of each document.

    Returns:
        documents x metrics (in the order of METRICS) x 3.
    """
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import DefaultTokenizer

    # Given, because the one it takes by itself, which is the same, comes with a log line.
    scorer = RougeScorer(list(METRICS), tokenizer=DefaultTokenizer(use_stemmer=True))
    rows = []
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        scores = scorer.score("\n".join(reference), "\n".join(hypothesis))
        rows.append([scores[metric] for metric in METRICS])
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(METRICS), 3)
