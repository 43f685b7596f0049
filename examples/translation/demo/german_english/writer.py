"""Draws among the constructions and finishes sentences: the grammar as a whole."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from examples.translation.demo.german_english import (
    complex_sentences,
    embedded_clauses,
    questions,
    sentences,
)
from examples.translation.demo.german_english.lexicon import Lexicon
from examples.translation.demo.german_english.planner import Planner, Unsayable
from examples.translation.demo.german_english.sentences import Pair

CONSTRUCTIONS: tuple[tuple[Callable[[Planner], Pair], int], ...] = (
    (sentences.simple, 30),
    (sentences.predicate, 7),
    (sentences.passive, 4),
    (sentences.there_is, 2),
    (questions.yes_no, 6),
    (questions.adverb_question, 4),
    (questions.who, 3),
    (questions.object_question, 3),
    (questions.which, 3),
    (questions.request, 3),
    (complex_sentences.with_conjunction, 12),
    (complex_sentences.reported, 8),
    (embedded_clauses.relative, 8),
    (complex_sentences.coordinated, 6),
    (embedded_clauses.infinitive, 6),
)


def finish(text: str) -> str:
    """Commas in order and the first letter in upper case."""
    text = re.sub(r",(\s*,)+", ",", text)
    text = re.sub(r",\s*([.?!])", r"\1", text)
    return text[0].upper() + text[1:]


class SentenceWriter:
    """Writes German-English sentence pairs from one seed."""

    def __init__(self, seed: int, lexicon: Lexicon) -> None:
        self.planner = Planner(random.Random(seed), lexicon)

    def pair(self) -> Pair:
        """The next German sentence and its English translation."""
        constructions, weights = zip(*CONSTRUCTIONS, strict=True)
        while True:
            construction = self.planner.rng.choices(constructions, weights)[0]
            try:
                said, text = construction(self.planner)
            except Unsayable:
                continue
            return finish(said), finish(text)
