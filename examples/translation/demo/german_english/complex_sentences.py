"""Sentences of more than one clause: conjunctions, dass and ob, relative clauses, infinitives."""

from __future__ import annotations

from dataclasses import replace

from examples.translation.demo.german_english import clauses, sentences
from examples.translation.demo.german_english.adverbials import FUTURE, PAST, PRESENT
from examples.translation.demo.german_english.clauses import Clause, join
from examples.translation.demo.german_english.lexicon import zipf_choice
from examples.translation.demo.german_english.noun_phrase import NounPhrase
from examples.translation.demo.german_english.planner import Planner, Unsayable
from examples.translation.demo.german_english.sentences import Pair, statement

# Conjunction, its translations, and per tense of the main clause the tense of the subordinate one.
SAME = {PAST: PAST, PRESENT: PRESENT, FUTURE: PRESENT}
CONJUNCTIONS: tuple[tuple[str, tuple[str, ...], dict[str, str]], ...] = (
    ("weil", ("because", "since"), SAME),
    ("wenn", ("if", "when"), {PRESENT: PRESENT, FUTURE: PRESENT}),
    ("obwohl", ("although", "even though"), SAME),
    ("als", ("when",), {PAST: PAST}),
    ("bevor", ("before",), {PAST: PAST, FUTURE: PRESENT}),
    ("während", ("while",), {PAST: PAST, PRESENT: PRESENT}),
    ("nachdem", ("after",), {PAST: PAST}),
    ("sobald", ("as soon as",), {FUTURE: PRESENT}),
    ("bis", ("until",), {PAST: PAST, FUTURE: PRESENT}),
)
COORDINATORS = (
    ("und", ("and",)),
    ("aber", ("but",)),
    ("deshalb", ("so", "therefore")),
    ("denn", ("because", "for")),
)
IMPERSONAL = (
    ("gut", "good"), ("schade", "a pity"), ("möglich", "possible"), ("wichtig", "important"),
    ("schön", "nice"), ("klar", "clear"), ("wahr", "true"),
)  # fmt: skip


def _second_subject(plan: Planner, first: NounPhrase) -> NounPhrase | None:
    """Usually the pronoun that takes up ``first``; None for someone else."""
    return plan.pronoun_for(first) if plan.chance(0.55) else None


def _subordinate(plan: Planner, conjunction: str, tense: str, first: NounPhrase) -> Clause:
    """The clause after ``conjunction``; its subject often takes up ``first``."""
    subject = _second_subject(plan, first)
    if conjunction == "nachdem":
        frames = ("acc", "intr", "dat+acc", "pp")
        clause = plan.clause(PAST, subject, frames=frames, plain=True)
        if clause.english_verb.stative:
            raise Unsayable("had known")
        return replace(clause, tense="pluperfect", english_tense="past perfect")
    if conjunction == "während":
        frames = ("acc", "intr", "pp", "play")
        clause = plan.clause(tense, subject, frames=frames, plain=True)
        if clause.english_verb.stative or clause.verb.auxiliary == "sein":
            raise Unsayable("was knowing")
        if tense == PAST:
            return replace(clause, tense="preterite", english_tense="past progressive")
        return replace(clause, english_tense="progressive")
    if conjunction in ("weil", "obwohl", "wenn"):
        if plan.chance(0.15):
            return sentences.weather(plan, tense)
        if plan.chance(0.35):
            return sentences.predicate_clause(plan, tense, subject)
    return plan.clause(tense, subject, plain=conjunction not in ("weil", "obwohl"), timeless=True)


def with_conjunction(plan: Planner) -> Pair:
    """Main and subordinate clause, either first."""
    conjunction, translations, tenses = zipf_choice(plan.rng, CONJUNCTIONS)
    tense = plan.rng.choice(list(tenses))
    main = plan.clause(tense, timeless=True)
    if conjunction not in ("weil", "obwohl") and main.english_tense == "progressive":
        main = replace(main, english_tense="present")
    if main.english_tense == "perfect":
        main = replace(main, english_tense="past")
    first = main.english_subject
    sub = _subordinate(plan, conjunction, tenses[tense], first)
    if sub.verb.infinitive == main.verb.infinitive:
        raise Unsayable("the same verb twice")
    if sub.english_tense == "perfect":
        sub = replace(sub, english_tense="past")
    word = plan.variant(translations)
    sub_said = clauses.german_subordinate(conjunction, sub)
    sub_text = join(word, clauses.english_statement(sub))
    if plan.chance(0.35) and not sub.subject.pronoun:
        return (
            clauses.german_main(main, f"{sub_said},") + ".",
            f"{sub_text}, {clauses.english_statement(main)}.",
        )
    return (
        f"{clauses.german_main(main)}, {sub_said}.",
        f"{clauses.english_statement(main)} {sub_text}.",
    )


def coordinated(plan: Planner) -> Pair:
    """Two main clauses with und, aber, deshalb, denn."""
    tense = sentences.frame(plan)
    about_thing = plan.chance(0.25)
    if about_thing:
        subject = plan.noun_phrase(sentences.PREDICATED, definite=True)
        one = sentences.predicate_clause(plan, PRESENT, subject)
        word: tuple[str, tuple[str, ...]] = ("aber", ("but",))
        again = plan.pronoun_for(subject)
        if again is None or again.noun is None:
            raise Unsayable("no pronoun")
        two = sentences.predicate_clause(plan, PRESENT, again)
        if one.parts[0].english == two.parts[0].english or " " in two.parts[0].german:
            raise Unsayable("says the same twice")
        said_one, text_one = clauses.german_main(one), clauses.english_statement(one)
    else:
        first = plan.clause(tense)
        said_one, text_one = statement(plan, first)
        word = zipf_choice(plan.rng, COORDINATORS)
        again = plan.pronoun_for(first.english_subject) if plan.chance(0.5) else None
        two = plan.clause(tense, again, timeless=True)
        if two.verb.infinitive == first.verb.infinitive:
            raise Unsayable("the same verb twice")
    conjunction, translations = word
    translated = plan.variant(translations)
    if conjunction == "deshalb":
        said_two = clauses.german_main(two, "deshalb")
    else:
        said_two = f"{conjunction} {clauses.german_main(two)}"
    comma = "" if conjunction == "und" and plan.chance(0.6) else ","
    text_two = clauses.english_statement(two)
    stop = "" if translated == "because" else ","
    if translated == "therefore":
        stop, translated = ";", "therefore"
    return f"{said_one}{comma} {said_two}.", f"{text_one}{stop} {translated} {text_two}."


def reported(plan: Planner) -> Pair:
    """dass and ob after verbs of saying and thinking, and after Es ist gut."""
    tense = plan.rng.choice((PAST, PRESENT))
    if plan.chance(0.2):
        adjective, word = zipf_choice(plan.rng, IMPERSONAL)
        inner = plan.clause(tense, timeless=True)
        that = "that " if plan.chance(0.75) else ""
        said = f"es ist {adjective}, {clauses.german_subordinate('dass', inner)}."
        return said, f"it is {word} {that or 'that '}{clauses.english_statement(inner)}."
    asks = plan.chance(0.25)
    frames = ("whether",) if asks else ("that",)
    outer = plan.clause(tense, frames=frames, timeless=True)
    if outer.subject.gender == "any" or (
        outer.verb.infinitive == "wissen" and asks and not outer.negated
    ):
        raise Unsayable("knows whether")
    inner_tense = PAST if tense == PAST else sentences.frame(plan)
    subject = _second_subject(plan, outer.english_subject)
    if plan.chance(0.3):
        inner = sentences.predicate_clause(plan, inner_tense, subject)
    else:
        inner = plan.clause(inner_tense, subject)
    opener = "ob" if asks else "dass"
    linker = plan.variant(("whether", "if")) if asks else plan.variant(("that", ""))
    said = f"{clauses.german_main(outer)}, {clauses.german_subordinate(opener, inner)}."
    text = join(clauses.english_statement(outer), linker, clauses.english_statement(inner))
    return said, text + "."
