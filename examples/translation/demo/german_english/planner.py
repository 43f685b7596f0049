"""Chooses what a clause says: verb, subject, objects, negation."""

from __future__ import annotations

from dataclasses import replace

from examples.translation.demo.german_english import clauses, german
from examples.translation.demo.german_english.adverbials import direction, location
from examples.translation.demo.german_english.clauses import Clause, Part
from examples.translation.demo.german_english.lexicon import EnglishVerb, Verb, zipf_choice
from examples.translation.demo.german_english.noun_phrase import PRONOUNS, NounPhrase
from examples.translation.demo.german_english.timing import Timing

PERSON = frozenset({"person"})
FRAME_WEIGHTS = {
    "acc": 40, "intr": 13, "pp": 12, "dat+acc": 10, "dat": 7, "to": 8, "at": 6, "on": 3,
    "please": 4, "put": 3, "play": 2,
}  # fmt: skip
ENGLISH_SURFACE = {"auf": "on", "unter": "under"}


class Planner(Timing):
    """Draws whole clauses."""

    def verb_for(
        self, subject: NounPhrase, frames: tuple[str, ...], patient: NounPhrase | None = None
    ) -> Verb:
        """A verb of one of ``frames`` that goes with ``subject`` and the object ``patient``."""
        is_plural = subject.person >= 3
        kinds = subject.kinds | ({"plural"} if is_plural and subject.human else set())
        by_frame = {}
        for frame in frames:
            verbs = [
                verb
                for verb in self.lexicon.verbs_in(frame)
                if verb.subjects & kinds and (patient is None or verb.objects & patient.kinds)
            ]
            if verbs:
                by_frame[frame] = verbs
        if not by_frame:
            raise Unsayable(f"no verb for {subject.english}")
        weights = [FRAME_WEIGHTS.get(frame, 1) for frame in by_frame]
        return zipf_choice(self.rng, by_frame[self.rng.choices(list(by_frame), weights)[0]])

    def clause(
        self,
        frame: str,
        subject: NounPhrase | None = None,
        *,
        frames: tuple[str, ...] = tuple(FRAME_WEIGHTS),
        patient: NounPhrase | None = None,
        plain: bool = False,
        timeless: bool = False,
    ) -> Clause:
        """A clause in the time ``frame`` (past, present, future).

        ``plain`` leaves out time, modal, negation and manner and keeps to simple present or past;
        ``timeless`` leaves out time alone. ``patient`` becomes the object, marked as the gap.
        """
        subject = subject or self.subject()
        verb = self.verb_for(subject, frames, patient)
        words = self._english_variant(verb)
        negatable = (
            not plain and patient is None and subject.gender != "any" and verb.frame != "please"
        )
        negated = negatable and self.chance(0.13)
        parts = self._objects(verb, words, subject, patient, negated)
        if verb.reflexive:
            own = german.REFLEXIVE[subject.person]
            parts.append(Part(own, "", clauses.REFLEXIVE, clauses.NOWHERE))
        english_subject = subject
        if verb.frame == "please":
            subject, english_subject, parts = self._swapped(verb, subject)
        clause = Clause(subject, english_subject, verb, words, "present", "present", tuple(parts))
        clause = replace(clause, negated=negated, contracted=self.chance(0.5))
        return self.with_tense(clause, frame, plain, timeless)

    def _english_variant(self, verb: Verb) -> EnglishVerb:
        if len(verb.english) == 1 or self.chance(0.65):
            return verb.english[0]
        return self.rng.choice(verb.english[1:])

    def _object(self, verb: Verb, subject: NounPhrase, negated: bool) -> tuple[NounPhrase, bool]:
        """The object of ``verb`` and whether the German negation lies in it (kein)."""
        takes_kein = verb.frame in ("acc", "put")
        wants_person = bool(verb.objects & PERSON)
        if wants_person and not negated and self.chance(0.28):
            return self._pronoun_other_than(subject), False
        if wants_person and self.chance(0.12):
            return self.name(), False
        if negated and takes_kein and self.chance(0.55):
            return self.noun_phrase(verb.objects, negative=True), True
        return self.noun_phrase(verb.objects, owner=subject, definite=negated), False

    def _pronoun_other_than(self, subject: NounPhrase) -> NounPhrase:
        """An object pronoun for someone else: mich after ich would be reflexive."""
        while True:
            pronoun = zipf_choice(self.rng, PRONOUNS)
            if pronoun.english_person != subject.english_person or pronoun.english_person in (2, 5):
                return pronoun

    def _objects(
        self,
        verb: Verb,
        words: EnglishVerb,
        subject: NounPhrase,
        patient: NounPhrase | None,
        negated: bool,
    ) -> list[Part]:
        """The constituents that the frame of ``verb`` asks for, with nicht where it is needed."""
        parts: list[Part] = []
        inside = False
        if verb.frame in ("acc", "dat", "pp", "dat+acc", "put"):
            phrase = patient
            if phrase is None:
                phrase, inside = self._object(verb, subject, negated)
            parts.append(self._object_part(verb, words, phrase, patient is not None))
        if verb.frame == "dat+acc":
            parts = self._recipient(words, subject, parts[0])
        elif verb.frame == "put":
            surface = self.noun_phrase(frozenset({"surface"}), definite=True)
            where = f"on {surface.english_object}"
            on = surface.german("acc", "auf")
            parts.append(Part(on, where, clauses.PLACE, clauses.OTHER))
        elif verb.frame == "on":
            surface = self.noun_phrase(verb.objects, definite=True)
            where = f"{ENGLISH_SURFACE[verb.preposition]} {surface.english_object}"
            on = surface.german("dat", verb.preposition)
            parts.append(Part(on, where, clauses.PLACE, clauses.OTHER, movable=True))
        elif verb.frame in ("to", "at"):
            place = direction if verb.frame == "to" else location
            parts.append(Part(*place(self, verb.objects), clauses.PLACE, clauses.OTHER))
        elif verb.frame == "play":
            noun = self.noun(verb.objects)
            the = f"the {noun.english}"
            parts.append(Part(noun.lemma, the, clauses.PREDICATE, clauses.OBJECT))
        if negated and not inside:
            parts.append(Part("nicht", "", clauses.NOT, clauses.NOWHERE))
        return parts

    def _object_part(
        self, verb: Verb, words: EnglishVerb, phrase: NounPhrase, is_gap: bool
    ) -> Part:
        preposition = "" if verb.frame == "dat+acc" else words.preposition
        text = clauses.join(preposition, phrase.english_object)
        if verb.frame == "pp":
            said = phrase.german(verb.case, verb.preposition)
            rank = clauses.PREPOSITIONAL
        else:
            said = phrase.german("dat" if verb.frame == "dat" else "acc")
            rank = clauses.DATIVE if verb.frame == "dat" else clauses.ACCUSATIVE
            rank = clauses.PRONOUN if phrase.pronoun else rank
        movable = not phrase.pronoun
        return Part(said, text, rank, clauses.OBJECT, phrase.pronoun, movable, is_gap)

    def _recipient(self, words: EnglishVerb, subject: NounPhrase, given: Part) -> list[Part]:
        """The given thing and who gets it: ``gives her the book`` or ``gives the book to her``."""
        receiver = (
            self._pronoun_other_than(subject)
            if self.chance(0.4)
            else self.noun_phrase(PERSON, owner=subject, definite=self.chance(0.6))
        )
        rank = clauses.PRONOUN if receiver.pronoun else clauses.DATIVE
        late = words.only_prepositional or given.gap or self.chance(0.35)
        text = receiver.english_object
        if late and words.preposition:
            part = Part(
                receiver.german("dat"), f"{words.preposition} {text}", rank, clauses.TO_OBJECT
            )
        else:
            part = Part(receiver.german("dat"), text, rank, clauses.INDIRECT)
        return [part, given]

    def _swapped(self, verb: Verb, person: NounPhrase) -> tuple[NounPhrase, NounPhrase, list[Part]]:
        """gefallen, schmecken: the German subject is what the English subject likes."""
        if "dat" not in person.forms or person.gender == "any":
            raise Unsayable(f"{person.english} cannot stand in the dative")
        liked = self.noun_phrase(verb.subjects, definite=True)
        rank = clauses.PRONOUN if person.pronoun else clauses.DATIVE
        dative = Part(person.german("dat"), "", rank, clauses.NOWHERE, movable=True)
        thing = Part("", liked.english_object, clauses.PREDICATE, clauses.OBJECT)
        return liked, person, [dative, thing]


class Unsayable(ValueError):
    """The words drawn do not go together; draw again."""
