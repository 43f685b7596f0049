"""German inflection: articles, adjective endings, nouns, pronouns and verbs.

Cases are ``nom``, ``acc``, ``dat``, ``gen``; genders ``m``, ``f``, ``n``; ``pl`` for plurals.
Persons are numbered 0-5: ich, du, er/sie/es, wir, ihr, sie/Sie.
"""

from __future__ import annotations

import re

from examples.translation.demo.german_english.lexicon import Noun, Verb

CASES = ("nom", "acc", "dat", "gen")

# Rows: m, f, n, pl; columns: the four cases. "_" is the empty ending.
TABLES = {
    "definite": "der den dem des|die die der der|das das dem des|die die den der",
    "ein": "_ en em es|e e er er|_ _ em es|e e en er",
    "dieser": "er en em es|e e er er|es es em es|e e en er",
    "weak": "e en en en|e e en en|e e en en|en en en en",
    "mixed": "er en en en|e e en en|es es en en|en en en en",
    "strong": "er en em en|e e er er|es es em en|e e en er",
    "relative": "der den dem dessen|die die der deren|das das dem dessen|die die denen deren",
}
ENDINGS = {
    (name, gender, case): ending.strip("_")
    for name, table in TABLES.items()
    for gender, row in zip(("m", "f", "n", "pl"), table.split("|"), strict=True)
    for case, ending in zip(CASES, row.split(), strict=True)
}

CONTRACTIONS = {
    "an dem": "am", "an das": "ans", "in dem": "im", "in das": "ins", "bei dem": "beim",
    "von dem": "vom", "zu dem": "zum", "zu der": "zur",
}  # fmt: skip

PRESENT = {
    "sein": ("bin", "bist", "ist", "sind", "seid", "sind"),
    "werden": ("werde", "wirst", "wird", "werden", "werdet", "werden"),
    "haben": ("habe", "hast", "hat", "haben", "habt", "haben"),
}
PRETERITE = {"sein": "war", "werden": "wurde", "haben": "hatte"}
MODALS = {
    "können": ("kann", "kannst", "kann", "können", "könnt", "können"),
    "müssen": ("muss", "musst", "muss", "müssen", "müsst", "müssen"),
    "wollen": ("will", "willst", "will", "wollen", "wollt", "wollen"),
    "dürfen": ("darf", "darfst", "darf", "dürfen", "dürft", "dürfen"),
    "sollen": ("soll", "sollst", "soll", "sollen", "sollt", "sollen"),
    "möchten": ("möchte", "möchtest", "möchte", "möchten", "möchtet", "möchten"),
}
MODAL_PRETERITE = {"können": "konnte", "müssen": "musste", "wollen": "wollte", "dürfen": "durfte"}
REFLEXIVE = ("mich", "dich", "sich", "uns", "euch", "sich")


def article(stem: str, gender: str, case: str) -> str:
    """``stem`` (der, ein, kein, mein, unser, euer, ..., or dies, jed, welch, all) in its form."""
    if stem == "der":
        return ENDINGS["definite", gender, case]
    if stem in ("dies", "jed", "welch", "all"):
        return stem + ENDINGS["dieser", gender, case]
    ending = ENDINGS["ein", gender, case]
    return ("eur" if stem == "euer" and ending else stem) + ending


def adjective(stem: str, determiner: str, gender: str, case: str) -> str:
    """An attributive adjective after ``determiner`` ("" for none, a numeral or viele/einige)."""
    if determiner in ("der", "dies", "jed", "welch", "all"):
        declension = "weak"
    elif determiner:
        declension = "mixed"
    else:
        declension = "strong"
    return stem + ENDINGS[declension, gender, case]


def noun_form(noun: Noun, case: str, plural: bool) -> str:
    """``noun`` in ``case``: dative plural -n, genitive, weak masculine nouns (den Jungen)."""
    if plural:
        if noun.plural is None:
            raise ValueError(f"{noun.lemma} has no plural")
        ends_in_n = noun.plural.endswith(("n", "s"))
        return noun.plural + ("n" if case == "dat" and not ends_in_n else "")
    if case == "gen":
        return noun.genitive
    is_weak = noun.gender == "m" and not noun.genitive.endswith("s")
    return noun.genitive if is_weak and case != "nom" else noun.lemma


def relative_pronoun(gender: str, case: str) -> str:
    """The relative pronoun der/die/das."""
    return ENDINGS["relative", gender, case]


def contract(text: str) -> str:
    """Draws preposition and article at the start together: ``in dem Haus`` -> ``im Haus``."""
    first = " ".join(text.split()[:2])
    return CONTRACTIONS[first] + text[len(first) :] if first in CONTRACTIONS else text


def stem_of(infinitive: str) -> str:
    """The infinitive without -en or -n."""
    return infinitive[:-2] if infinitive.endswith("en") else infinitive[:-1]


def linking_e(stem: str) -> str:
    """The e between a stem such as arbeit-, öffn- and a consonant, else nothing."""
    needs_e = re.search(r"([dt]|chn|[^aeiouäöülrhmn][mn])$", stem)
    return "e" if needs_e else ""


def weak_parts(infinitive: str) -> tuple[str, str, str, str]:
    """du, er, preterite and participle of a regular verb."""
    stem = stem_of(infinitive)
    e = linking_e(stem)
    inseparable = re.match(r"(be|ge|er|ver|ent|zer|über|wieder)[^e]", infinitive)
    ge = "" if inseparable or infinitive.endswith("ieren") else "ge"
    sibilant = stem.endswith(("s", "ß", "x", "z"))
    du = stem + ("t" if sibilant else e + "st")
    return du, f"{stem}{e}t", f"{stem}{e}te", f"{ge}{stem}{e}t"


def present(verb: Verb, person: int) -> str:
    """Present tense without a separable prefix."""
    stem = stem_of(verb.infinitive)
    if verb.infinitive in PRESENT:
        return PRESENT[verb.infinitive][person]
    if person == 0 and not verb.er.endswith("t"):
        return verb.er  # ich weiß
    return (
        (re.sub(r"el$", "l", stem) if verb.infinitive.endswith("eln") else stem) + "e",
        verb.du,
        verb.er,
        verb.infinitive,
        f"{stem}{linking_e(stem)}t",
        verb.infinitive,
    )[person]


def preterite(form: str, person: int) -> str:
    """Preterite from its third person singular: gab, arbeitete, war."""
    if form.endswith("e"):
        return form + ("", "st", "", "n", "t", "n")[person]
    e = "e" if re.search(r"[dtsßz]$", form) else ""
    return form + ("", f"{e}st", "", "en", f"{linking_e(form)}t", "en")[person]


def imperative(verb: Verb) -> str:
    """The du-imperative without a separable prefix: lies, fahr, warte, öffne."""
    stem = stem_of(verb.infinitive)
    if not verb.er.startswith(stem) and not re.search("[äöü]", verb.er):
        return re.sub(r"t$", "", verb.er)
    soft = linking_e(stem) or stem.endswith(("er", "ig"))
    return stem + ("e" if soft else "")
