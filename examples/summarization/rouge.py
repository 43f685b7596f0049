"""ROUGE of summaries, document by document, and the sentences that ROUGE-Lsum needs.

ROUGE-L compares sentence with sentence: a hypothesis is a line of text, which pysbd divides by
rules (it downloads nothing). A reference has its sentences between tabs; where a file has no tabs
at all, it is divided too. ROUGE is defined for English: its words are of the letters a to z, and
stemmed. Where the references are in another language, words are of all letters, and whole.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray

from scripts.corpora.prepare_text import TextError, read_lines

METRICS = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeLsum": "ROUGE-Lsum"}
# English text has some hundredths of a percent of other letters than a to z, German 2 %.
ENGLISH_SHARE = 0.99
# Of scripts without spaces each character is a word.
SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}ー"
WORD = regex.compile(rf"(?V1)[{SPACELESS}]\p{{M}}*|[[\p{{L}}\p{{M}}\p{{N}}]--[{SPACELESS}]]+")


def is_english(references: list[list[str]]) -> bool:
    """Whether the letters of the references are a to z, but for some in a hundred."""
    letters = [letter for text in references for part in text for letter in part
               if letter.isalpha()]  # fmt: skip
    return sum(map(str.isascii, letters)) >= ENGLISH_SHARE * len(letters)


def settings(references: list[list[str]]) -> dict[str, str]:
    """How it is computed, for signatures."""
    english = is_english(references)
    return {
        "library": f"rouge-score {version('rouge-score')}",
        "words": "English" if english else "not English: of all letters",
        "stemmer": "Porter" if english else "none",
        "sentences": f"pysbd {version('pysbd')}",
    }


class Words:
    """rouge-score's tokenizer for text that is not English."""

    def tokenize(self, text: str) -> list[str]:
        """The words in lower case."""
        words: list[str] = WORD.findall(text.lower())
        return words


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

    # Given, because the one it takes by itself, which is the English one, comes with a log line.
    tokenizer = DefaultTokenizer(use_stemmer=True) if is_english(references) else Words()
    scorer = RougeScorer(list(METRICS), tokenizer=tokenizer)
    rows = []
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        scores = scorer.score("\n".join(reference), "\n".join(hypothesis))
        rows.append([scores[metric] for metric in METRICS])
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(METRICS), 3)
