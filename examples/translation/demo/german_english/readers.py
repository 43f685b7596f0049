"""Reads the word lists beside this file (``*.tsv``); their first lines describe the columns."""

from __future__ import annotations

from pathlib import Path

from examples.translation.demo.german_english import english, german
from examples.translation.demo.german_english.lexicon import (
    Adjective,
    EnglishVerb,
    Lexicon,
    Noun,
    Place,
    Verb,
)

NONE = "-"


class LexiconError(ValueError):
    """A line of a word list that cannot be read; the message names file and line."""


def load_lexicon(folder: Path | None = None) -> Lexicon:
    """Reads nouns, compounds, adjectives and verbs from ``folder`` (the one of this file)."""
    folder = folder or Path(__file__).parent
    nouns = read_nouns(folder / "nouns.tsv")
    nouns += read_compounds(folder / "compounds.tsv", nouns)
    adjectives = read_adjectives(folder / "adjectives.tsv")
    verbs = read_verbs(folder / "verbs.tsv")
    return Lexicon(tuple(nouns), tuple(adjectives), tuple(verbs))


def read_table(path: Path, columns: int) -> list[tuple[int, list[str]]]:
    """Line numbers and fields of a tab-separated word list without its comments."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != columns or not all(fields):
            raise LexiconError(
                f"{path}:{number}: expected {columns} tab-separated fields, none of them empty "
                f"({NONE} stands for nothing), found {len(fields)}"
            )
        rows.append((number, fields))
    return rows


def read_nouns(path: Path) -> list[Noun]:
    """Nouns of ``nouns.tsv``."""
    nouns = []
    for number, row in read_table(path, 8):
        lemma, gender, genitive, plural, word, word_plural, kinds, place = row
        if gender not in ("m", "f", "n"):
            raise LexiconError(f"{path}:{number}: gender {gender!r} of {lemma} is none of m, f, n")
        preposition = place.split("/")
        if place != NONE and len(preposition) != 4:
            raise LexiconError(f"{path}:{number}: the place of {lemma} needs four prepositions")
        nouns.append(
            Noun(
                lemma=lemma,
                gender=gender,
                genitive=genitive,
                plural=None if plural == NONE else plural,
                english=word,
                english_plural=english.plural(word) if word_plural == NONE else word_plural,
                kinds=frozenset(kinds.split(",")),
                place=None if place == NONE else Place(*preposition),
            )
        )
    return nouns


def read_compounds(path: Path, nouns: list[Noun]) -> list[Noun]:
    """Compounds of ``compounds.tsv``: each inherits gender, kinds and inflection of its head."""
    heads = {noun.lemma: noun for noun in reversed(nouns)}
    compounds = []
    for number, (first, word, second) in read_table(path, 3):
        for lemma in second.split(","):
            if lemma not in heads:
                raise LexiconError(f"{path}:{number}: {lemma} is not in the list of nouns")
            head = heads[lemma]
            compounds.append(
                Noun(
                    lemma=first + head.lemma.lower(),
                    gender=head.gender,
                    genitive=first + head.genitive.lower(),
                    plural=head.plural and first + head.plural.lower(),
                    english=f"{word} {head.english}",
                    english_plural=f"{word} {head.english_plural}",
                    kinds=head.kinds,
                    place=head.place,
                )
            )
    return compounds


def read_adjectives(path: Path) -> list[Adjective]:
    """Adjectives of ``adjectives.tsv``."""
    return [
        Adjective(
            lemma=lemma,
            stem=stem,
            comparative=None if comparative == NONE else comparative,
            english=tuple(words.split("/")),
            english_comparative=tuple(compared.split("/")),
            kinds=frozenset(kinds.split(",")),
        )
        for _, (lemma, stem, comparative, words, compared, kinds) in read_table(path, 6)
    ]


def read_verbs(path: Path) -> list[Verb]:
    """Verbs of ``verbs.tsv``; principal parts given as ``-`` follow the weak conjugation."""
    verbs = []
    for number, row in read_table(path, 8):
        infinitive, parts, auxiliary, frame, subjects, objects, preposition, words = row
        reflexive = infinitive.startswith("sich ")
        prefix, _, simple = infinitive.removeprefix("sich ").rpartition("|")
        forms = german.weak_parts(simple) if parts == NONE else tuple(parts.split())
        governed = ("", "") if preposition == NONE else tuple(preposition.split())
        if len(forms) != 4 or len(governed) != 2 or auxiliary not in ("h", "s"):
            raise LexiconError(f"{path}:{number}: {infinitive} has a malformed field: {row[1:7]}")
        verbs.append(
            Verb(
                infinitive=simple,
                prefix=prefix,
                reflexive=reflexive,
                du=forms[0],
                er=forms[1],
                preterite=forms[2],
                participle=prefix + forms[3],
                auxiliary="sein" if auxiliary == "s" else "haben",
                frame=frame,
                subjects=frozenset(subjects.split(",")),
                objects=frozenset(objects.split(",")),
                preposition=governed[0],
                case=governed[1],
                english=tuple(read_english_verb(words_) for words_ in words.split("/")),
            )
        )
    return verbs


def read_english_verb(text: str) -> EnglishVerb:
    """A variant of ``verbs.tsv``'s last column: ``look ~for``, ``throw threw thrown +away``."""
    stative = text.startswith("*")
    text, _, preposition = text.removeprefix("*").partition(" ~")
    text, _, particle = text.partition(" +")
    forms = text.split()
    past = forms[1] if len(forms) > 1 else english.regular_past(forms[0])
    return EnglishVerb(
        base=forms[0],
        past=past,
        participle=forms[2] if len(forms) > 2 else past,
        ing=forms[3] if len(forms) > 3 else english.regular_ing(forms[0]),
        particle=particle,
        preposition=preposition.removesuffix("!"),
        only_prepositional=preposition.endswith("!"),
        stative=stative,
    )
