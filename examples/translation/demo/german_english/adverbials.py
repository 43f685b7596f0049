"""Time, manner, cause and place: adverbials in both languages, with the tenses they allow."""

from __future__ import annotations

import random
from dataclasses import dataclass

from examples.translation.demo.german_english.lexicon import Place, zipf_choice
from examples.translation.demo.german_english.noun_phrase import CITIES, NUMERALS, NounPhrase
from examples.translation.demo.german_english.phrases import Phrases

PAST, PRESENT, FUTURE = "past", "present", "future"


@dataclass(frozen=True)
class Time:
    """An adverbial of time, and what it asks of the English verb.

    ``english`` holds variants; ``aspect`` is "", habit, now, since (a span up to now)
    or adverb (one that stands in the middle of the English sentence: always, already).
    """

    german: str
    english: tuple[str, ...]
    frames: tuple[str, ...]
    aspect: str = ""


ANY = (PAST, PRESENT, FUTURE)
TIMES = (
    Time("heute", ("today",), ANY),
    Time("gestern", ("yesterday",), (PAST,)),
    Time("morgen", ("tomorrow",), (FUTURE,)),
    Time("jetzt", ("now",), (PRESENT,), "now"),
    Time("oft", ("often",), (PAST, PRESENT), "adverb"),
    Time("am Abend", ("in the evening",), ANY, "habit"),
    Time("immer", ("always",), (PAST, PRESENT), "adverb"),
    Time("jeden Tag", ("every day",), (PAST, PRESENT), "habit"),
    Time("am Montag", ("on Monday",), (PAST, FUTURE)),
    Time("gestern Abend", ("last night", "yesterday evening"), (PAST,)),
    Time("heute Abend", ("this evening", "tonight"), (FUTURE,)),
    Time("gerade", ("at the moment", "right now"), (PRESENT,), "now"),
    Time("letzte Woche", ("last week",), (PAST,)),
    Time("manchmal", ("sometimes",), (PAST, PRESENT), "adverb"),
    Time("nächste Woche", ("next week",), (FUTURE,)),
    Time("am Morgen", ("in the morning",), ANY, "habit"),
    Time("nie", ("never",), (PAST, PRESENT), "adverb"),
    Time("am Wochenende", ("at the weekend", "on the weekend"), ANY, "habit"),
    Time("bald", ("soon",), (FUTURE,)),
    Time("schon", ("already",), (PAST,), "adverb"),
    Time("im Sommer", ("in summer", "in the summer"), ANY, "habit"),
    Time("am Freitag", ("on Friday",), (PAST, FUTURE)),
    Time("jeden Morgen", ("every morning",), (PAST, PRESENT), "habit"),
    Time("übermorgen", ("the day after tomorrow",), (FUTURE,)),
    Time("vorgestern", ("the day before yesterday",), (PAST,)),
    Time("letztes Jahr", ("last year",), (PAST,)),
    Time("nächstes Jahr", ("next year",), (FUTURE,)),
    Time("am Sonntag", ("on Sunday",), (PAST, FUTURE)),
    Time("selten", ("rarely", "seldom"), (PAST, PRESENT), "adverb"),
    Time("im Winter", ("in winter", "in the winter"), ANY, "habit"),
    Time("im Dezember", ("in December",), (PAST, FUTURE)),
    Time("am Mittwoch", ("on Wednesday",), (PAST, FUTURE)),
    Time("seit Montag", ("since Monday",), (PRESENT,), "since"),
    Time("heute Morgen", ("this morning",), (PAST,)),
    Time("seit letzter Woche", ("since last week",), (PRESENT,), "since"),
    Time("jedes Jahr", ("every year",), (PAST, PRESENT), "habit"),
    Time("im Frühling", ("in spring", "in the spring"), ANY, "habit"),
    Time("am Dienstag", ("on Tuesday",), (PAST, FUTURE)),
    Time("im Juli", ("in July",), (PAST, FUTURE)),
    Time("seit gestern", ("since yesterday",), (PRESENT,), "since"),
)
UNITS = (  # dative plural, English plural
    ("Tagen", "days"), ("Stunden", "hours"), ("Jahren", "years"), ("Wochen", "weeks"),
    ("Minuten", "minutes"), ("Monaten", "months"),
)  # fmt: skip
EVENTS = (
    ("dem Essen", "the meal", "dinner"), ("der Arbeit", "work"), ("der Schule", "school"),
    ("dem Konzert", "the concert"), ("der Prüfung", "the exam"), ("dem Fest", "the party"),
    ("der Reise", "the journey"), ("dem Spiel", "the game"),
)  # fmt: skip
MANNERS = (
    ("langsam", "slowly"), ("gut", "well"), ("schnell", "quickly", "fast"),
    ("laut", "loudly"), ("leise", "quietly"), ("allein", "alone"), ("lange", "for a long time"),
    ("vorsichtig", "carefully"), ("fröhlich", "happily"), ("plötzlich", "suddenly"),
)  # fmt: skip
CAUSES = (
    ("wegen des Regens", "because of the rain"), ("trotz des Regens", "despite the rain"),
    ("wegen der Kälte", "because of the cold"), ("trotz der Hitze", "in spite of the heat"),
    ("wegen des schlechten Wetters", "because of the bad weather"),
    ("trotz des Lärms", "despite the noise"),
)  # fmt: skip
SPOTS = (  # two-way prepositions with the dative
    ("neben", "next to", "beside"), ("vor", "in front of"), ("hinter", "behind"),
    ("bei", "near"),
)  # fmt: skip


def time_in(rng: random.Random, frame: str) -> Time:
    """An adverbial of time that goes with ``frame`` (past, present or future)."""
    draw = rng.random()
    number, translation = zipf_choice(rng, NUMERALS)
    unit, english_unit = zipf_choice(rng, UNITS)
    if draw < 0.12:
        clock = f"{translation} o'clock"
        aspect = "habit" if frame == PRESENT else ""
        return Time(f"um {number} Uhr", (f"at {clock}",), (frame,), aspect)
    if draw < 0.22:
        if frame == PRESENT:
            return Time(
                f"seit {number} {unit}", (f"for {translation} {english_unit}",), (frame,), "since"
            )
        if frame == PAST:
            return Time(f"vor {number} {unit}", (f"{translation} {english_unit} ago",), (frame,))
        return Time(f"in {number} {unit}", (f"in {translation} {english_unit}",), (frame,))
    if draw < 0.30:
        event, *words = rng.choice(EVENTS)
        before = rng.random() < 0.4
        pairs = tuple(f"{'before' if before else 'after'} {word}" for word in words)
        aspect = "habit" if frame == PRESENT else ""
        return Time(f"{'vor' if before else 'nach'} {event}", pairs, (frame,), aspect)
    return zipf_choice(rng, [time for time in TIMES if frame in time.frames])


def location(phrases: Phrases, kinds: frozenset[str]) -> tuple[str, str]:
    """Where something is: preposition with the dative, or a city."""
    if kinds == {"city"} or ("city" in kinds and phrases.chance(0.4)):
        city, translation = zipf_choice(phrases.rng, CITIES)
        return f"in {city}", f"in {translation}"
    if phrases.chance(0.2):
        preposition, *words = phrases.rng.choice(SPOTS)
        phrase = phrases.noun_phrase(frozenset({"building", "plant"}), definite=True)
        where = phrases.variant(tuple(words))
        return phrase.german("dat", preposition), f"{where} {phrase.english_object}"
    phrase, place = _place(phrases, kinds)
    return (
        phrase.german("dat", place.location),
        f"{place.english_location} {phrase.english_object}",
    )


def direction(phrases: Phrases, kinds: frozenset[str]) -> tuple[str, str]:
    """Where someone goes: zu with the dative, in/auf/an with the accusative, nach with a city."""
    if kinds == {"city"} or ("city" in kinds and phrases.chance(0.4)):
        city, translation = zipf_choice(phrases.rng, CITIES)
        return f"nach {city}", f"to {translation}"
    phrase, place = _place(phrases, kinds)
    return (
        phrase.german("dat" if place.direction == "zu" else "acc", place.direction),
        f"{place.english_direction} {phrase.english_object}",
    )


def _place(phrases: Phrases, kinds: frozenset[str]) -> tuple[NounPhrase, Place]:
    while True:  # few nouns of these kinds are no places (a wooden bridge is one)
        phrase = phrases.noun_phrase(kinds - {"city"}, definite=phrases.chance(0.8))
        if phrase.person == 5 and phrases.chance(0.85):
            continue
        if phrase.noun is not None and phrase.noun.place is not None:
            return phrase, phrase.noun.place
