"""What is known about a word: nouns, adjectives and verbs in both languages."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Prepositions of a place: where one is and where one goes, in both languages."""

    location: str
    direction: str
    english_location: str
    english_direction: str


@dataclass(frozen=True)
class Noun:
    """A noun in both languages; ``plural`` is None for a mass noun."""

    lemma: str
    gender: str
    genitive: str
    plural: str | None
    english: str
    english_plural: str
    kinds: frozenset[str]
    place: Place | None


@dataclass(frozen=True)
class Adjective:
    """An adjective; its English depends on the kinds of noun it describes."""

    lemma: str
    stem: str
    comparative: str | None
    english: tuple[str, ...]
    english_comparative: tuple[str, ...]
    kinds: frozenset[str]


@dataclass(frozen=True)
class EnglishVerb:
    """Principal parts, with the particle (turn ... on) and preposition (look for) they take."""

    base: str
    past: str
    participle: str
    ing: str
    particle: str = ""
    preposition: str = ""
    only_prepositional: bool = False
    stative: bool = False


@dataclass(frozen=True)
class Verb:
    """A German verb in one frame (what it takes) with its English variants."""

    infinitive: str
    prefix: str
    reflexive: bool
    du: str
    er: str
    preterite: str
    participle: str
    auxiliary: str
    frame: str
    subjects: frozenset[str]
    objects: frozenset[str]
    preposition: str
    case: str
    english: tuple[EnglishVerb, ...]


@dataclass(frozen=True, eq=False)
class Lexicon:
    """All words, each list in the order of frequency; look-ups are remembered."""

    nouns: tuple[Noun, ...]
    adjectives: tuple[Adjective, ...]
    verbs: tuple[Verb, ...]

    def nouns_of(self, kinds: frozenset[str]) -> list[Noun]:
        """Nouns of at least one of ``kinds``, most frequent first."""
        return _nouns_of(self, kinds)

    def adjectives_for(self, noun: Noun) -> list[Adjective]:
        """Adjectives that make sense with ``noun``, most frequent first."""
        return _adjectives_for(self, noun.kinds)

    def verbs_in(self, *frames: str) -> list[Verb]:
        """Verbs of the given frames, most frequent first."""
        return _verbs_in(self, frames)


@functools.cache
def _nouns_of(lexicon: Lexicon, kinds: frozenset[str]) -> list[Noun]:
    return [noun for noun in lexicon.nouns if noun.kinds & kinds]


@functools.cache
def _adjectives_for(lexicon: Lexicon, kinds: frozenset[str]) -> list[Adjective]:
    return [word for word in lexicon.adjectives if word.kinds & kinds]


@functools.cache
def _verbs_in(lexicon: Lexicon, frames: tuple[str, ...]) -> list[Verb]:
    return [verb for verb in lexicon.verbs if verb.frame in frames]


@functools.cache
def _zipf_weights(count: int) -> list[float]:
    return list(itertools.accumulate(1.0 / (rank + 3) for rank in range(count)))


def zipf_choice(rng: random.Random, items: Sequence[T]) -> T:
    """One of ``items``, that of rank r (from 0) with a probability proportional to 1 / (r + 3)."""
    return rng.choices(items, cum_weights=_zipf_weights(len(items)))[0]
