"""One clause in both languages: verb group, constituents, and the word order around them.

German: verb second (main clause), first (question, imperative) or last (subordinate clause), with
the rest of the verb group at the end; English: do-support, inversion, adverbs in the verb group.
"""

from __future__ import annotations

from dataclasses import dataclass

from examples.translation.demo.german_english import english, german
from examples.translation.demo.german_english.lexicon import EnglishVerb, Verb
from examples.translation.demo.german_english.noun_phrase import NounPhrase

# Order in the German middle field; the subject stands between the pronouns and the rest.
REFLEXIVE, PRONOUN, SUBJECT, TIME, CAUSE, DATIVE, GLADLY, ACCUSATIVE = range(8)
NOT, MANNER, PLACE, PREPOSITIONAL, PREDICATE = range(8, 13)
# Order after the English verb. MID stands inside the verb group, NOWHERE is German only.
NOWHERE, MID, INDIRECT, OBJECT, COMPLEMENT, TO_OBJECT, OTHER, LATE = range(8)


@dataclass(frozen=True)
class Part:
    """A constituent beside subject and verb: its words and its rank in both word orders.

    ``movable``: may open a German main clause. ``gap``: stands for what is asked for or relative.
    """

    german: str
    english: str
    rank: int
    english_rank: int
    pronoun: bool = False
    movable: bool = False
    gap: bool = False


@dataclass(frozen=True)
class Clause:
    """Subject, verb group and constituents; ``english_subject`` differs after gefallen.

    ``tense``: present, preterite, perfect, pluperfect, future, passive, past passive.
    ``english_tense``: see ``english.verb_words``. ``modal`` is in the tense present or preterite.
    """

    subject: NounPhrase
    english_subject: NounPhrase
    verb: Verb
    english_verb: EnglishVerb
    tense: str
    english_tense: str
    parts: tuple[Part, ...]
    modal: str = ""
    english_modal: tuple[str | EnglishVerb, str] | None = None
    negated: bool = False
    contracted: bool = False


def _german_verb(clause: Clause) -> tuple[str, str]:
    """Finite verb and what closes the clause (particle, participle, infinitive)."""
    verb, person = clause.verb, clause.subject.person
    auxiliary = {"perfect": "present", "pluperfect": "preterite"}
    if clause.modal:
        infinitive = verb.prefix + verb.infinitive
        if clause.tense == "present":
            return german.MODALS[clause.modal][person], infinitive
        return german.preterite(german.MODAL_PRETERITE[clause.modal], person), infinitive
    if clause.tense in auxiliary:
        if clause.tense == "perfect":
            return german.PRESENT[verb.auxiliary][person], verb.participle
        return german.preterite(german.PRETERITE[verb.auxiliary], person), verb.participle
    if clause.tense == "future":
        return german.PRESENT["werden"][person], verb.prefix + verb.infinitive
    if clause.tense == "passive":
        return german.PRESENT["werden"][person], verb.participle
    if clause.tense == "past passive":
        return german.preterite("wurde", person), verb.participle
    if clause.tense == "preterite":
        return german.preterite(verb.preterite, person), verb.prefix
    return german.present(verb, person), verb.prefix


def _middle(clause: Clause, without: Part | None, subject: bool) -> list[str]:
    """The German middle field in order."""
    ranked = [(part.rank, part.german) for part in clause.parts if part is not without]
    if subject:
        rank = -1 if clause.subject.pronoun else SUBJECT
        ranked.append((rank, clause.subject.german("nom")))
    return [words for _, words in sorted(ranked, key=lambda pair: pair[0])]


def german_main(clause: Clause, front: Part | str | None = None) -> str:
    """Verb second: after ``front``, else the subject. A string stands for a clause or word."""
    finite, tail = _german_verb(clause)
    first = front.german if isinstance(front, Part) else front
    skipped = front if isinstance(front, Part) else None
    middle = _middle(clause, skipped, subject=first is not None)
    return join(first or clause.subject.german("nom"), finite, *middle, tail)


def german_question(clause: Clause) -> str:
    """Verb first."""
    finite, tail = _german_verb(clause)
    return join(finite, *_middle(clause, None, subject=True), tail)


def german_subordinate(opener: str, clause: Clause, first: Part | None = None) -> str:
    """Verb last after a conjunction; ``first`` is a relative pronoun that takes its place.

    With neither, the subject itself is the relative pronoun and opens the clause.
    """
    finite, tail = _german_verb(clause)
    is_simple = tail and tail == clause.verb.prefix
    end = [tail + finite] if is_simple else [tail, finite]
    lead = first.german if first else opener
    return join(lead, *_middle(clause, first, subject=True), *end)


def german_infinitive(opener: str, clause: Clause) -> str:
    """Infinitive clause with zu: ``um das Buch zu kaufen``, ``um sie anzurufen``."""
    verb = clause.verb
    end = f"{verb.prefix}zu{verb.infinitive}" if verb.prefix else f"zu {verb.infinitive}"
    return join(opener, *_middle(clause, None, subject=False), end)


def german_request(clause: Clause, formal: bool) -> str:
    """Imperative with bitte: ``Mach bitte die Tür zu``, ``Machen Sie bitte ...``."""
    verb = clause.verb
    head = f"{verb.infinitive} Sie" if formal else german.imperative(verb)
    return join(head, "bitte", *_middle(clause, None, subject=False), verb.prefix)


def _english_after_verb(clause: Clause, without: Part | None) -> list[str]:
    """What follows the English verb: particle, objects, adverbials."""
    parts = [part for part in clause.parts if part is not without and part.english_rank > MID]
    parts.sort(key=lambda part: part.english_rank)
    words = [part.english for part in parts]
    particle = clause.english_verb.particle
    if particle:
        splits = bool(parts) and parts[0].pronoun and parts[0].english_rank == OBJECT
        words.insert(1 if splits else 0, particle)
    return words


def _english_group(clause: Clause, force_operator: bool) -> tuple[str, list[str], bool]:
    """Operator, the other words of the verb group, and whether the operator is negated."""
    tense, person = clause.english_tense, clause.english_subject.english_person
    verb = clause.english_verb
    operator, words = english.verb_words(verb, tense, person, clause.english_modal)
    if not operator and (clause.negated or force_operator):
        head = verb.base
        if clause.english_modal is not None and isinstance(clause.english_modal[0], EnglishVerb):
            head = clause.english_modal[0].base
        operator, words = english.do_support(words, head, tense, person)
    return operator, words, clause.negated


def english_statement(clause: Clause, front: Part | None = None, subject: str | None = None) -> str:
    """Subject first, or after ``front``; ``subject`` replaces the subject's words (who, that)."""
    operator, words, negated = _english_group(clause, force_operator=False)
    if negated:
        operator = english.negate(operator, clause.contracted)
    mid = [part.english for part in clause.parts if part.english_rank == MID]
    group = [operator, *mid, *words]
    who = clause.english_subject.english if subject is None else subject
    lead = front.english if front else ""
    return join(lead, who, *group, *_english_after_verb(clause, front))


def english_question(clause: Clause, lead: str = "", without: Part | None = None) -> str:
    """Inverted: operator, subject, verb; ``lead`` is the question word for ``without``."""
    operator, words, negated = _english_group(clause, force_operator=True)
    mid = [part.english for part in clause.parts if part.english_rank == MID]
    if negated and clause.contracted:
        operator = english.negate(operator, contracted=True)
        negated = not operator.endswith("n't")
    plain_not = ["not"] if negated else []
    subject = clause.english_subject.english
    return join(
        lead, operator, subject, *plain_not, *mid, *words, *_english_after_verb(clause, without)
    )


def english_bare(clause: Clause, opener: str, form: str = "base") -> str:
    """The verb without subject: ``to buy the book``, ``without buying the book``."""
    verb = clause.english_verb.base if form == "base" else clause.english_verb.ing
    mid = [part.english for part in clause.parts if part.english_rank == MID]
    return join(opener, *mid, verb, *_english_after_verb(clause, None))


def join(*words: str) -> str:
    """The non-empty words with blanks between them."""
    return " ".join(word for word in words if word)
