"""Tense, modal verb and adverbials of time, so that German and English agree on when."""

from __future__ import annotations

from dataclasses import replace

from examples.translation.demo.german_english import clauses, english, german
from examples.translation.demo.german_english.adverbials import (
    CAUSES,
    FUTURE,
    MANNERS,
    PAST,
    PRESENT,
    Time,
    time_in,
)
from examples.translation.demo.german_english.clauses import Clause, Part
from examples.translation.demo.german_english.lexicon import zipf_choice
from examples.translation.demo.german_english.phrases import Phrases

COMPLETE = Time("", ("",), ())


class Timing(Phrases):
    """Draws when something happens."""

    def _time(self, clause: Clause, frame: str) -> Time:
        """A time that fits verb and negation."""
        verb, words = clause.verb, clause.english_verb
        lasts = verb.frame in ("intr", "at", "pp", "play") and verb.auxiliary == "haben"
        while True:
            time = time_in(self.rng, frame)
            if clause.negated and time.aspect in ("adverb", "since", "now"):
                continue
            if time.aspect == "since" and not (lasts and not words.particle and not words.stative):
                continue
            if clause.subject.gender == "any" and time.german == "nie":
                continue
            if not words.stative or time.aspect == "adverb" or frame == FUTURE:
                return time

    def with_tense(self, clause: Clause, frame: str, plain: bool, timeless: bool) -> Clause:
        allowed = not (plain or timeless or (clause.english_verb.stative and clause.negated))
        wants_time = allowed and self.chance(0.5 if frame != FUTURE else 0.85)
        time = self._time(clause, frame) if wants_time else COMPLETE
        parts = list(clause.parts)
        if time.german:
            is_adverb = time.aspect == "adverb"
            place = clauses.MID if is_adverb else clauses.LATE
            said = self.variant(time.english)
            movable = time.german not in ("immer", "nie", "schon")
            parts.append(Part(time.german, said, clauses.TIME, place, movable=movable))
        extra = not plain and clause.verb.frame in ("intr", "acc", "play") and time.aspect != "now"
        if extra and clause.verb.frame == "intr" and not clause.negated and self.chance(0.2):
            manner, *words = zipf_choice(self.rng, MANNERS)
            said = self.variant(tuple(words))
            parts.append(Part(manner, said, clauses.MANNER, clauses.OTHER))
        elif not plain and frame == PAST and self.chance(0.04):
            cause, said = self.rng.choice(CAUSES)
            parts.append(Part(cause, said, clauses.CAUSE, clauses.LATE, movable=True))
        clause = replace(clause, parts=tuple(parts))
        if not plain and time.aspect in ("", "habit") and self.chance(0.16):
            modal = self._with_modal(clause, frame)
            if modal is not None:
                return modal
        tense, english_tense = self.tenses(clause, frame, time, plain)
        return replace(clause, tense=tense, english_tense=english_tense)

    def _with_modal(self, clause: Clause, frame: str) -> Clause | None:
        """``clause`` with a modal verb or gern; None where that makes no sense."""
        words, subject = clause.english_verb, clause.subject
        if words.stative or not subject.human or clause.verb.frame == "please":
            return None
        past = frame == PAST
        tense = "past" if past else "present"
        if not past and frame == PRESENT and not clause.negated and self.chance(0.3):
            gladly = Part("gern", "", clauses.GLADLY, clauses.NOWHERE)
            rendering = english.MODALS["gern", "present"][0]
            return replace(clause, parts=(*clause.parts, gladly), english_modal=rendering)
        modal = zipf_choice(self.rng, list(german.MODAL_PRETERITE if past else german.MODALS))
        renderings = english.MODALS[modal, tense]
        if clause.negated:
            renderings = english.NEGATED_MODALS.get((modal, tense), renderings)
        rendering = renderings[0 if self.chance(0.7) else -1]
        return replace(
            clause,
            tense="preterite" if past else "present",
            english_tense=tense,
            modal=modal,
            english_modal=rendering,
        )

    def tenses(self, clause: Clause, frame: str, time: Time, plain: bool) -> tuple[str, str]:
        """German and English tense of a clause without a modal."""
        stative = clause.english_verb.stative
        if frame == PAST:
            narrates = clause.subject.person in (0, 2, 3, 5) and self.chance(0.35)
            always = clause.verb.infinitive in ("haben", "wissen", "sein") or stative
            if time.german == "schon":
                return "perfect", "perfect"
            if narrates or always:
                return "preterite", "past"
            recent = not time.german and not plain and self.chance(0.2)
            return "perfect", "perfect" if recent else "past"
        if frame == FUTURE:
            says_future = time.german and PRESENT not in time.frames
            tense = "present" if says_future and self.chance(0.65) else "future"
            return tense, "future" if self.chance(0.75) else "going to"
        if time.aspect == "since":
            return "present", "perfect progressive"
        if time.aspect == "now":
            return "present", "progressive"
        ongoing = not plain and not stative and not time.aspect and self.chance(0.3)
        return "present", "progressive" if ongoing else "present"
