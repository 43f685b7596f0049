"""Sentences with a clause inside: relative clauses and infinitives with zu."""

from __future__ import annotations

from dataclasses import replace

from examples.translation.demo.german_english import clauses, german, sentences
from examples.translation.demo.german_english.adverbials import PAST, PRESENT
from examples.translation.demo.german_english.clauses import join
from examples.translation.demo.german_english.noun_phrase import NounPhrase
from examples.translation.demo.german_english.planner import Planner, Unsayable
from examples.translation.demo.german_english.sentences import Pair


def _relative_forms(antecedent: NounPhrase) -> dict[str, str]:
    return {
        case: german.relative_pronoun(antecedent.gender, case) for case in ("nom", "acc", "dat")
    }


def relative(plan: Planner) -> Pair:
    """A noun phrase with a relative clause, as subject or as object."""
    thing = plan.noun_phrase(
        frozenset(
            {"person"} if plan.chance(0.6) else {"thing", "text", "clothing", "vehicle", "food"}
        )
    )
    pronoun = NounPhrase(
        _relative_forms(thing), "", "", thing.person, thing.english_person, thing.gender,
        human=thing.human, pronoun=True, noun=thing.noun,
    )  # fmt: skip
    tense = plan.rng.choice((PAST, PRESENT))
    if thing.human and plan.chance(0.5):
        frames = ("acc", "intr", "pp", "dat+acc", "dat", "to", "at", "play")
        who = replace(pronoun, english=plan.variant(("who", "that")))
        inner = plan.clause(tense, who, frames=frames)
        said, text = clauses.german_subordinate("", inner), clauses.english_statement(inner)
    else:
        inner = plan.clause(tense, frames=("acc", "dat", "pp"), patient=pronoun, timeless=True)
        gap = next(part for part in inner.parts if part.gap)
        linker = plan.variant(("", "who", "that") if thing.human else ("", "that", "which"))
        said = clauses.german_subordinate("", inner, gap)
        text = join(linker, clauses.english_statement(inner))
    whole = thing.with_clause(said, text)
    if plan.chance(0.5) and thing.human:
        outer = plan.clause(sentences.frame(plan), whole, timeless=True)
    elif plan.chance(0.4):
        outer = sentences.predicate_clause(plan, PRESENT, whole)
    else:
        outer = plan.clause(
            sentences.frame(plan), frames=("acc", "dat", "pp"), patient=whole, timeless=True
        )
    return clauses.german_main(outer) + ".", clauses.english_statement(outer) + "."


def infinitive(plan: Planner) -> Pair:
    """versuchen zu, um ... zu, ohne ... zu."""
    tense = sentences.frame(plan)
    subject = plan.subject()
    frames = ("acc", "intr", "pp", "dat+acc", "dat", "play", "to")
    inner = plan.clause(PRESENT, subject, frames=frames, plain=True)
    if inner.english_verb.stative:
        raise Unsayable("to know")
    draw = plan.rng.random()
    if draw < 0.5:
        outer = plan.clause(tense, subject, frames=("zu",), timeless=True)
        if outer.modal:
            raise Unsayable("wants to hope to")
        return (
            f"{clauses.german_main(outer)}, {clauses.german_infinitive('', inner)}.",
            f"{clauses.english_statement(outer)} {clauses.english_bare(inner, 'to')}.",
        )
    outer = plan.clause(tense, subject, frames=("to", "acc", "at", "intr"))
    if outer.verb is inner.verb:
        raise Unsayable("the same verb twice")
    if draw < 0.85:
        opener = plan.variant(("to", "in order to"))
        return (
            f"{clauses.german_main(outer)}, {clauses.german_infinitive('um', inner)}.",
            f"{clauses.english_statement(outer)} {clauses.english_bare(inner, opener)}.",
        )
    return (
        f"{clauses.german_main(outer)}, {clauses.german_infinitive('ohne', inner)}.",
        f"{clauses.english_statement(outer)} {clauses.english_bare(inner, 'without', 'ing')}.",
    )
