"""Draws noun phrases: determiner, number, adjectives and noun, in both languages at once."""

from __future__ import annotations

import random
from dataclasses import replace

from examples.translation.demo.german_english import english, german
from examples.translation.demo.german_english.lexicon import Adjective, Lexicon, Noun, zipf_choice
from examples.translation.demo.german_english.noun_phrase import (
    INDEFINITE,
    IT,
    NAMES,
    NUMERALS,
    POSSESSIVE_STEMS,
    POSSESSIVES,
    PRONOUNS,
    QUANTIFIERS,
    SPOUSES,
    NounPhrase,
    fixed,
)

DEMONSTRATIVES = {False: "this", True: "these"}


class Phrases:
    """Draws phrases from the lexicon with one random generator."""

    def __init__(self, rng: random.Random, lexicon: Lexicon) -> None:
        self.rng = rng
        self.lexicon = lexicon

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.rng.random() < probability

    def variant(self, options: tuple[str, ...]) -> str:
        """One of several translations, the first one most often."""
        return (
            options[0] if len(options) == 1 or self.chance(0.65) else self.rng.choice(options[1:])
        )

    def noun(self, kinds: frozenset[str]) -> Noun:
        """A noun of one of ``kinds``, frequent ones more often."""
        nouns = self.lexicon.nouns_of(kinds)
        if not nouns:
            raise ValueError(f"no noun is of the kinds {sorted(kinds)}")
        return zipf_choice(self.rng, nouns)

    def noun_phrase(
        self,
        kinds: frozenset[str],
        owner: NounPhrase | None = None,
        negative: bool = False,
        definite: bool = False,
    ) -> NounPhrase:
        """A full noun phrase; ``negative`` makes it "kein ...", ``definite`` "der ..."."""
        noun = self.noun(kinds)
        plural = noun.plural is not None and self.chance(0.22)
        words = self.adjectives(noun, 0.4)
        if negative:
            countable = noun.plural is not None and not plural
            any_ = "" if countable or self.chance(0.4) else "any"
            return self.assemble(noun, plural, "kein", any_, words)
        if definite or self.chance(0.42):
            return self.assemble(noun, plural, "der", "the", words)
        has_one = plural and noun.lemma in SPOUSES
        may_own = owner is not None and self.owns(owner) and noun.plural and not has_one
        if owner is not None and may_own and self.chance(0.35):
            return self.assemble(noun, plural, *self.possessive(owner), words)
        if self.chance(0.13):
            return self.assemble(noun, plural, "dies", DEMONSTRATIVES[plural], words)
        if not plural:
            return self.assemble(noun, False, "ein" if noun.plural else "", "", words)
        if self.chance(0.5):
            return self.assemble(noun, True, "", "", words)
        numbers = NUMERALS if self.chance(0.7) else QUANTIFIERS
        number, translation = zipf_choice(self.rng, numbers)
        return self.assemble(noun, True, "", translation, words, number)

    def adjectives(self, noun: Noun, probability: float) -> list[Adjective]:
        """With ``probability`` an adjective that makes sense with ``noun``."""
        known = self.lexicon.adjectives_for(noun)
        return [zipf_choice(self.rng, known)] if known and self.chance(probability) else []

    def assemble(
        self,
        noun: Noun,
        plural: bool,
        determiner: str,
        translation: str,
        adjectives: list[Adjective],
        number: str = "",
    ) -> NounPhrase:
        """Puts determiner, number, adjectives and noun together, in every case and in English.

        ``translation`` is the English determiner; where it is empty, the article is a, an or none.
        """
        gender = "pl" if plural else noun.gender
        forms = {}
        for case in german.CASES:
            words = [german.article(determiner, gender, case)] if determiner else []
            words += [self._declined_number(number, case)] if number else []
            words += [german.adjective(word.stem, determiner, gender, case) for word in adjectives]
            forms[case] = " ".join([*words, german.noun_form(noun, case, plural)])
        described = [self.variant(word.english) for word in adjectives]
        word = noun.english_plural if plural else noun.english
        if determiner in POSSESSIVE_STEMS:
            word = SPOUSES.get(noun.lemma, word)
        text = " ".join([*described, word])
        if translation:
            text = f"{translation} {text}"
        elif not plural and noun.plural is not None:
            text = english.with_article(text)
        person = 5 if plural else 2
        contracts = determiner == "der" and not plural
        human = "person" in noun.kinds
        return NounPhrase(
            forms, text, text, person, person, gender, human, noun=noun, contracts=contracts
        )

    @staticmethod
    def _declined_number(number: str, case: str) -> str:
        declines = number in dict(QUANTIFIERS)
        return number + {"dat": "n", "gen": "r"}.get(case, "") if declines else number

    @staticmethod
    def owns(owner: NounPhrase) -> bool:
        """Whether ``owner`` has a possessive with a clear translation (Kind, jemand: none)."""
        return owner.gender != "any" and not (owner.human and owner.gender == "n")

    def possessive(self, owner: NounPhrase) -> tuple[str, str]:
        """German and English possessive of ``owner`` (sein, his)."""
        if owner.forms["nom"] == "Sie":
            return "Ihr", "your"
        if owner.person != 2:
            return POSSESSIVES[owner.person]
        stem = "ihr" if owner.gender == "f" else "sein"
        return stem, ("her" if owner.gender == "f" else "his") if owner.human else "its"

    def name(self) -> NounPhrase:
        """A first name."""
        name, gender = zipf_choice(self.rng, NAMES)
        return fixed(name, name, gender=gender, human=True)

    def subject(self, plural: bool = False) -> NounPhrase:
        """A person that does something; with ``plural`` more than one."""
        draw = self.rng.random()
        if plural or draw < 0.06:
            return (
                self.rng.choice((PRONOUNS[3], PRONOUNS[4], self.pair())) if plural else self.pair()
            )
        if draw < 0.34:
            return zipf_choice(self.rng, PRONOUNS)
        if draw < 0.48:
            return self.name()
        if draw < 0.52:
            german_word, word, person, english_person = zipf_choice(self.rng, INDEFINITE)
            return fixed(
                german_word, word, person, english_person=english_person, gender="any", human=True
            )
        return self.noun_phrase(frozenset({"person"}), owner=PRONOUNS[2], definite=self.chance(0.5))

    def pair(self) -> NounPhrase:
        """Two people: Anna und Peter, mein Bruder und ich, der Mann und die Frau."""
        first, second = self.name(), self.name()
        while second.english == first.english:
            second = self.name()
        if self.chance(0.3):
            kin = self.assemble(self.noun(frozenset({"person"})), False, "mein", "my", [])
            return fixed(
                f"{kin.forms['nom']} und ich", f"{kin.english} and I", 3, gender="pl", human=True
            )
        german_text = f"{first.forms['nom']} und {second.forms['nom']}"
        return fixed(
            german_text, f"{first.english} and {second.english}", 5, gender="pl", human=True
        )

    def pronoun_for(self, phrase: NounPhrase) -> NounPhrase | None:
        """The personal pronoun that takes up ``phrase``; None for jemand, Kind and Mädchen.

        The pronoun of the last two is neuter, and English would have to guess he, she or it.
        """
        if phrase.pronoun:
            return phrase
        if phrase.person == 3:
            return PRONOUNS[3]
        if phrase.gender in ("pl", "any"):
            return None if phrase.gender == "any" else replace(PRONOUNS[4], noun=phrase.noun)
        if phrase.human:
            return {"m": PRONOUNS[0], "f": PRONOUNS[1]}.get(phrase.gender)
        return replace(IT[phrase.gender], noun=phrase.noun)
