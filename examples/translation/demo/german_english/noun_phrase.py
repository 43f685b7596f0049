"""The noun phrase in both languages, and the words of closed classes: pronouns, names, numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from examples.translation.demo.german_english import german
from examples.translation.demo.german_english.lexicon import Noun


@dataclass(frozen=True)
class NounPhrase:
    """A noun phrase: its German case forms, its English, and what agrees with it.

    ``person`` and ``english_person`` count 0-5 (see german.py); ``gender`` is m, f, n or pl.
    """

    forms: Mapping[str, str]
    english: str
    english_object: str
    person: int
    english_person: int
    gender: str
    human: bool = False
    pronoun: bool = False
    noun: Noun | None = None
    contracts: bool = False

    @property
    def kinds(self) -> frozenset[str]:
        """What may be said of it: the kinds of its noun, or person."""
        return self.noun.kinds if self.noun else frozenset({"person"})

    def german(self, case: str, preposition: str = "") -> str:
        """The phrase in ``case``, after ``preposition`` if one is given (im, zur, ...)."""
        text = f"{preposition} {self.forms[case]}".strip()
        return german.contract(text) if self.contracts else text

    def with_clause(self, german_clause: str, english_clause: str) -> NounPhrase:
        """The phrase followed by a relative clause, which takes commas in German only."""
        return replace(
            self,
            forms={case: f"{text}, {german_clause}," for case, text in self.forms.items()},
            english=f"{self.english} {english_clause}",
            english_object=f"{self.english_object} {english_clause}",
        )


def fixed(german_text: str, english_text: str, person: int = 2, **details: object) -> NounPhrase:
    """A phrase with one form for all cases, such as a name."""
    base = NounPhrase(
        dict.fromkeys(german.CASES, german_text), english_text, english_text, person, person, "m"
    )
    return replace(base, **details)  # type: ignore[arg-type]


def _pronoun(row: str, person: int, english_person: int, gender: str) -> NounPhrase:
    nom, acc, dat, subject, obj = row.split()
    forms = {"nom": nom, "acc": acc, "dat": dat}
    return NounPhrase(forms, subject, obj, person, english_person, gender, human=True, pronoun=True)


PRONOUNS = (
    _pronoun("er ihn ihm he him", 2, 2, "m"),
    _pronoun("sie sie ihr she her", 2, 2, "f"),
    _pronoun("ich mich mir I me", 0, 0, "m"),
    _pronoun("wir uns uns we us", 3, 3, "pl"),
    _pronoun("sie sie ihnen they them", 5, 5, "pl"),
    _pronoun("du dich dir you you", 1, 1, "m"),
    _pronoun("Sie Sie Ihnen you you", 5, 1, "pl"),
    _pronoun("ihr euch euch you you", 4, 1, "pl"),
)
IT = {
    "m": replace(_pronoun("er ihn ihm it it", 2, 2, "m"), human=False),
    "f": replace(_pronoun("sie sie ihr it it", 2, 2, "f"), human=False),
    "n": replace(_pronoun("es es ihm it it", 2, 2, "n"), human=False),
}
POSSESSIVES = {  # by the person of the owner; the third person singular depends on the gender
    0: ("mein", "my"), 1: ("dein", "your"), 3: ("unser", "our"), 4: ("euer", "your"),
    5: ("ihr", "their"),
}  # fmt: skip
SPOUSES = {  # after a possessive
    "Mann": "husband", "Frau": "wife",
}  # fmt: skip
POSSESSIVE_STEMS = ("mein", "dein", "sein", "ihr", "unser", "euer", "Ihr")
INDEFINITE = (  # subjects only: German, English, person, English person
    ("niemand", "nobody", 2, 2), ("jemand", "someone", 2, 2), ("alle", "everyone", 5, 2),
    ("man", "people", 2, 5), ("jeder", "everyone", 2, 2),
)  # fmt: skip
NAMES = (
    ("Anna", "f"), ("Peter", "m"), ("Maria", "f"), ("Paul", "m"), ("Julia", "f"), ("Thomas", "m"),
    ("Laura", "f"), ("Jonas", "m"), ("Clara", "f"), ("Felix", "m"), ("Emma", "f"), ("Max", "m"),
    ("Sophie", "f"), ("Martin", "m"), ("Lena", "f"), ("Simon", "m"), ("Nora", "f"), ("David", "m"),
)  # fmt: skip
CITIES = (
    ("Berlin", "Berlin"), ("München", "Munich"), ("Hamburg", "Hamburg"), ("Wien", "Vienna"),
    ("Köln", "Cologne"), ("Paris", "Paris"), ("Rom", "Rome"), ("Leipzig", "Leipzig"),
    ("Zürich", "Zurich"), ("London", "London"), ("Prag", "Prague"), ("Dresden", "Dresden"),
    ("Nürnberg", "Nuremberg"), ("Brüssel", "Brussels"), ("Bremen", "Bremen"),
)  # fmt: skip
NUMERALS = (
    ("zwei", "two"), ("drei", "three"), ("vier", "four"), ("fünf", "five"), ("sechs", "six"),
    ("sieben", "seven"), ("acht", "eight"), ("neun", "nine"), ("zehn", "ten"), ("elf", "eleven"),
    ("zwölf", "twelve"),
)  # fmt: skip
QUANTIFIERS = (("viele", "many"), ("einige", "some"), ("mehrere", "several"), ("wenige", "few"))
