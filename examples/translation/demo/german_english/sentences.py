"""Simple sentences: statements, predicates, the weather, es gibt, the passive."""

from __future__ import annotations

from examples.translation.demo.german_english import clauses, english
from examples.translation.demo.german_english.adverbials import FUTURE, PAST, PRESENT
from examples.translation.demo.german_english.clauses import Clause, Part
from examples.translation.demo.german_english.lexicon import EnglishVerb, Verb, zipf_choice
from examples.translation.demo.german_english.noun_phrase import NounPhrase, fixed
from examples.translation.demo.german_english.planner import Planner, Unsayable

Pair = tuple[str, str]
BE = EnglishVerb("be", "was", "been", "being", stative=True)
NO_KINDS: frozenset[str] = frozenset()
PREDICATED = frozenset(
    "person animal thing text clothing furniture vehicle building event abstract room food".split()
)
PROFESSIONS = frozenset(
    "Lehrer Lehrerin Arzt Ärztin Student Studentin Polizist Schülerin Verkäufer Koch Sängerin "
    "Malerin Bauer Richterin Künstler Gärtnerin Journalist Bäcker Tänzerin Soldat Zahnärztin "
    "Matrose".split()
)


def _plain_verb(infinitive: str, parts: str, auxiliary: str, word: EnglishVerb) -> Verb:
    du, er, preterite, participle = parts.split()
    empty = ("", NO_KINDS, NO_KINDS, "", "")
    return Verb(infinitive, "", False, du, er, preterite, participle, auxiliary, *empty, (word,))


SEIN = _plain_verb("sein", "bist ist war gewesen", "sein", BE)
RAIN = _plain_verb("regnen", "regnest regnet regnete geregnet", "haben",
                   EnglishVerb("rain", "rained", "rained", "raining"))  # fmt: skip
SNOW = _plain_verb("schneien", "schneist schneit schneite geschneit", "haben",
                   EnglishVerb("snow", "snowed", "snowed", "snowing"))  # fmt: skip
SKY = (("kalt", "cold"), ("warm", "warm"), ("dunkel", "dark"), ("spät", "late"), ("heiß", "hot"))
IT_IS = fixed("es", "it", gender="any", pronoun=True)


def frame(plan: Planner) -> str:
    """Past, present or future."""
    return plan.rng.choices((PAST, PRESENT, FUTURE), (45, 42, 13))[0]


def statement(plan: Planner, clause: Clause) -> Pair:
    """A main clause, in German often with something other than the subject in front."""
    movable = [part for part in clause.parts if part.movable and part.german]
    times = [part for part in movable if part.english_rank in (clauses.LATE, clauses.MID)]
    front: Part | None = None
    if times and plan.chance(0.45):
        front = times[0]
    elif movable and plan.chance(0.06):
        front = plan.rng.choice(movable)
    likely = 0.6 if front is not None else 0.08
    lead = None
    if times and times[0].english_rank == clauses.LATE and plan.chance(likely):
        lead = times[0]
    return clauses.german_main(clause, front), clauses.english_statement(clause, lead)


def simple(plan: Planner) -> Pair:
    """One statement."""
    said, text = statement(plan, plan.clause(frame(plan)))
    return said + ".", text + "."


def predicate_clause(plan: Planner, tense: str, subject: NounPhrase | None = None) -> Clause:
    """sein with an adjective or comparison that suits the subject."""
    subject = subject or (
        plan.subject() if plan.chance(0.5) else plan.noun_phrase(PREDICATED, definite=True)
    )
    known = [word for word in plan.lexicon.adjectives if word.kinds & subject.kinds]
    if not known:
        raise Unsayable(f"nothing to say of {subject.english}")
    word = zipf_choice(plan.rng, known)
    said, text = word.lemma, plan.variant(word.english)
    negated = subject.gender != "any" and plan.chance(0.15)
    if word.comparative and plan.chance(0.25):
        other = plan.noun_phrase(subject.kinds & PREDICATED, definite=True)
        if plan.chance(0.65):
            said = f"{word.comparative} als {other.german('nom')}"
            text = f"{plan.variant(word.english_comparative)} than {other.english}"
        else:
            said, text = f"so {said} wie {other.german('nom')}", f"as {text} as {other.english}"
    elif not negated and plan.chance(0.35):
        degree, translations = zipf_choice(
            plan.rng, (("sehr", ("very",)), ("zu", ("too",)), ("ziemlich", ("quite", "rather")))
        )
        said, text = f"{degree} {said}", f"{plan.variant(translations)} {text}"
    parts = [Part(said, text, clauses.PREDICATE, clauses.OBJECT)]
    if negated:
        parts.append(Part("nicht", "", clauses.NOT, clauses.NOWHERE))
    return copula(plan, tense, subject, tuple(parts), negated)


def copula(
    plan: Planner, tense: str, subject: NounPhrase, parts: tuple[Part, ...], negated: bool = False
) -> Clause:
    """A clause with sein: is, was, will be."""
    said = {PAST: "preterite", PRESENT: "present", FUTURE: "future"}[tense]
    text = {PAST: "past", PRESENT: "present", FUTURE: "future"}[tense]
    contracted = plan.chance(0.5)
    return Clause(
        subject, subject, SEIN, BE, said, text, parts, negated=negated, contracted=contracted
    )


def weather(plan: Planner, tense: str) -> Clause:
    """Es regnet, es schneit, es ist kalt."""
    if plan.chance(0.5):
        adjective, word = plan.rng.choice(SKY)
        part = Part(adjective, word, clauses.PREDICATE, clauses.OBJECT)
        return copula(plan, tense, IT_IS, (part,))
    verb = RAIN if plan.chance(0.6) else SNOW
    said, text = {
        PAST: ("perfect", "past"),
        PRESENT: ("present", "progressive"),
        FUTURE: ("future", "future"),
    }[tense]
    return Clause(IT_IS, IT_IS, verb, verb.english[0], said, text, ())


def predicate(plan: Planner) -> Pair:
    """Der Tisch ist zu klein; Anna ist Ärztin; der Hund ist schneller als die Katze."""
    tense = frame(plan) if plan.chance(0.4) else PRESENT
    if plan.chance(0.12):
        subject = plan.name()
        known = [
            noun
            for noun in plan.lexicon.nouns
            if noun.lemma in PROFESSIONS and noun.gender == subject.gender
        ]
        noun = zipf_choice(plan.rng, known)
        job = Part(
            noun.lemma, english.with_article(noun.english), clauses.PREDICATE, clauses.OBJECT
        )
        clause = copula(plan, tense, subject, (job,))
    else:
        clause = weather(plan, tense) if plan.chance(0.08) else predicate_clause(plan, tense)
    if tense == FUTURE and clause.subject.gender == "any":
        raise Unsayable("nobody will be ...")
    return clauses.german_main(clause) + ".", clauses.english_statement(clause) + "."


def there_is(plan: Planner) -> Pair:
    """Es gibt in der Stadt ein Museum."""
    kinds, place = plan.rng.choice(
        (("building", "town"), ("furniture", "room"), ("animal", "outdoors"))
    )
    negative = plan.chance(0.15)
    thing = plan.noun_phrase(frozenset({kinds}), negative=negative)
    if thing.contracts or thing.forms["nom"].startswith(("dies", "die ")):
        raise Unsayable("es gibt takes an indefinite phrase")
    noun = plan.noun(frozenset({"place"} if place == "town" else {place}))
    if noun.place is None or (place == "town" and noun.lemma not in ("Stadt", "Dorf", "Park")):
        raise Unsayable("not a place where things are")
    where = plan.assemble(noun, False, "der", "the", [])
    past = plan.chance(0.3)
    verb = {False: ("is", "are"), True: ("was", "were")}[past][thing.person == 5]
    there = f"there {english.negate(verb, plan.chance(0.5)) if negative else verb}"
    said, text = thing.german("acc"), thing.english
    german_place = where.german("dat", noun.place.location)
    english_place = f"{noun.place.english_location} {where.english}"
    gives = "gab" if past else "gibt"
    if plan.chance(0.5):
        return (
            f"{german_place} {gives} es {said}.",
            (
                f"{english_place} {there} {text}."
                if plan.chance(0.2)
                else f"{there} {text} {english_place}."
            ),
        )
    return f"es {gives} {said} {german_place}.", f"{there} {text} {english_place}."


def passive(plan: Planner) -> Pair:
    """Das Auto wird repariert; the agent stands after von."""
    agent = plan.subject()
    while agent.gender == "any" or agent.pronoun:
        agent = plan.subject()
    verb = plan.verb_for(agent, ("acc",))
    words = verb.english[0]
    if words.stative or words.preposition or verb.infinitive in ("haben", "bekommen", "nehmen"):
        raise Unsayable("no passive")
    patient = plan.noun_phrase(verb.objects, definite=plan.chance(0.7))
    past = plan.chance(0.6)
    parts: list[Part] = []
    if plan.chance(0.5):
        times = (("gestern", "yesterday"), ("letzte Woche", "last week"))
        time = plan.rng.choice(times) if past else ("gerade", "at the moment")
        parts.append(Part(*time, clauses.TIME, clauses.LATE, movable=True))
    if plan.chance(0.5) and "dat" in agent.forms and agent.person in (2, 5):
        by = f"by {agent.english_object}"
        parts.append(Part(agent.german("dat", "von"), by, clauses.MANNER, clauses.OTHER))
    tense, text = ("past passive", "past passive") if past else ("passive", "passive")
    clause = Clause(patient, patient, verb, words, tense, text, tuple(parts))
    said, translated = statement(plan, clause)
    return said + ".", translated + "."
