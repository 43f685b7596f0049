"""Questions and requests."""

from __future__ import annotations

from dataclasses import replace

from examples.translation.demo.german_english import clauses
from examples.translation.demo.german_english.adverbials import PAST, PRESENT
from examples.translation.demo.german_english.clauses import join
from examples.translation.demo.german_english.noun_phrase import NounPhrase, fixed
from examples.translation.demo.german_english.planner import Planner, Unsayable
from examples.translation.demo.german_english.sentences import Pair, frame

SHARED = (
    "tanzen",
    "spielen",
    "arbeiten",
    "kochen",
    "kaufen",
    "lernen",
    "üben",
    "singen",
    "frühstücken",
)
REQUESTED_WITH_PREPOSITION = ("warten", "sprechen", "suchen", "telefonieren", "fragen", "passen")
NOT_REQUESTED = (
    "haben", "verlieren", "stehlen", "verpassen", "bekommen", "zerbrechen", "vergessen",
    "finden", "drohen", "begegnen", "widersprechen", "werfen",
)  # fmt: skip


def yes_no(plan: Planner) -> Pair:
    """A question without a question word."""
    clause = plan.clause(frame(plan))
    if clause.negated:
        raise Unsayable("negated question")
    return clauses.german_question(clause) + "?", clauses.english_question(clause) + "?"


def who(plan: Planner) -> Pair:
    """A question for the subject: Wer hat das Buch gelesen?"""
    asked = fixed("wer", "who", gender="any", human=True, pronoun=True)
    frames = ("acc", "intr", "pp", "dat+acc", "dat", "to", "at", "play")
    clause = plan.clause(frame(plan), asked, frames=frames)
    return clauses.german_main(clause) + "?", clauses.english_statement(clause) + "?"


def adverb_question(plan: Planner) -> Pair:
    """Wann, warum, wie lange, wo, wohin ...?"""
    word, translations, frames, tense = plan.rng.choice(
        (
            ("wann", ("when",), ("acc", "intr", "pp", "to"), frame(plan)),
            ("warum", ("why",), ("acc", "intr", "pp", "to", "dat", "dat+acc"), frame(plan)),
            ("wo", ("where",), ("acc", "intr"), plan.rng.choice((PAST, PRESENT))),
            ("wie oft", ("how often",), ("acc", "pp", "dat"), PRESENT),
            ("mit wem", ("who ... with",), ("intr", "play"), frame(plan)),
        )
    )
    clause = plan.clause(tense, frames=frames, plain=word != "warum", timeless=True)
    lead, _, after = plan.variant(translations).partition(" ... ")
    if word == "mit wem" and clause.verb.infinitive not in SHARED:
        raise Unsayable("not done together")
    text = join(clauses.english_question(clause, lead), after)
    return clauses.german_main(clause, word) + "?", text + "?"


def object_question(plan: Planner) -> Pair:
    """Was, wen, wem, auf wen ...? English leaves the preposition at the end."""
    if plan.chance(0.5):
        kinds = plan.rng.choice((("thing", "text", "food", "drink"), ("clothing", "thing")))
        forms = {"nom": "was", "acc": "was"}
        asked = NounPhrase(forms, "what", "", 2, 2, "n", noun=plan.noun(frozenset(kinds)))
        frames: tuple[str, ...] = ("acc", "dat+acc")
        lead = "what"
    else:
        forms = {"nom": "wer", "acc": "wen", "dat": "wem"}
        asked = NounPhrase(forms, "who", "", 2, 2, "any", human=True)
        frames = ("acc", "dat", "pp")
        lead = "who"
    clause = plan.clause(frame(plan), frames=frames, patient=asked, timeless=True)
    gap = next(part for part in clause.parts if part.gap)
    if clause.negated:
        raise Unsayable("negated question")
    return clauses.german_main(clause, gap) + "?", clauses.english_question(clause, lead) + "?"


def which(plan: Planner) -> Pair:
    """Welches Buch liest er?"""
    noun = plan.noun(frozenset({"thing", "text", "clothing", "place", "food", "person"}))
    adjectives = plan.adjectives(noun, 0.25)
    asked = plan.assemble(
        noun, plan.chance(0.3) and bool(noun.plural), "welch", "which", adjectives
    )
    asked_about = replace(asked, english_object="")
    clause = plan.clause(frame(plan), frames=("acc", "pp"), patient=asked_about, timeless=True)
    gap = next(part for part in clause.parts if part.gap)
    if clause.negated:
        raise Unsayable("negated question")
    question = clauses.english_question(clause, asked.english)
    return clauses.german_main(clause, gap) + "?", question + "?"


def request(plan: Planner) -> Pair:
    """An imperative with bitte, to one person or to a stranger."""
    subject = fixed("du", "you", 1)
    frames = ("acc", "dat+acc", "dat", "pp", "put")
    clause = plan.clause(PRESENT, subject, frames=frames, plain=True)
    words = clause.english_verb
    own = {"dich", "dir", "Sie", "Ihnen", "euch", "ihr"}
    addressed = any(part.pronoun and part.german.split()[-1] in own for part in clause.parts)
    verb = clause.verb.infinitive
    if words.stative or clause.verb.reflexive or addressed or verb in NOT_REQUESTED:
        raise Unsayable("no request")
    if clause.verb.frame == "pp" and verb not in REQUESTED_WITH_PREPOSITION:
        raise Unsayable("no request")
    if any(
        part.english.split()[:1] == ["your"] or " your " in part.english for part in clause.parts
    ):
        raise Unsayable("the possessive depends on who is addressed")
    said = clauses.german_request(clause, formal=plan.chance(0.6))
    text = clauses.english_bare(clause, "")
    return said + plan.rng.choice(".!"), (
        f"please {text}" if plan.chance(0.75) else f"{text}, please"
    ) + "."
