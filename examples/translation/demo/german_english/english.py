"""English inflection. Persons are numbered 0-5: I, you, he/she/it, we, you, they."""

from __future__ import annotations

import re

from examples.translation.demo.german_english.lexicon import EnglishVerb

BE = {
    "present": ("am", "are", "is", "are", "are", "are"),
    "past": ("was", "were", "was") + ("were",) * 3,
}
CONTRACTED = {
    "can not": "can't", "will not": "won't", "do not": "don't", "does not": "doesn't",
    "did not": "didn't", "is not": "isn't", "are not": "aren't", "was not": "wasn't",
    "were not": "weren't", "has not": "hasn't", "have not": "haven't", "had not": "hadn't",
    "would not": "wouldn't", "could not": "couldn't", "should not": "shouldn't",
    "must not": "mustn't",
}  # fmt: skip


def plural(word: str) -> str:
    """The regular plural."""
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")


def regular_past(base: str) -> str:
    """The regular past tense, which is also the past participle."""
    if base.endswith("e"):
        return base + "d"
    return re.sub(r"(?<=[^aeiou])y$", "i", base) + "ed"


def regular_ing(base: str) -> str:
    """The regular present participle."""
    return (base[:-1] if re.search(r"[^eo]e$", base) else base) + "ing"


def third_person(base: str) -> str:
    """The third person singular of the present."""
    if base == "have":
        return "has"
    if base.endswith(("s", "x", "z", "ch", "sh", "o")):
        return base + "es"
    return re.sub(r"(?<=[^aeiou])y$", "ie", base) + "s"


def finite(verb: EnglishVerb, tense: str, person: int) -> str:
    """``verb`` in the simple ``present`` or ``past``."""
    if verb.base == "be":
        return BE[tense][person]
    if tense == "past":
        return verb.past
    return third_person(verb.base) if person == 2 else verb.base


def with_article(words: str) -> str:
    """``a`` or ``an`` before ``words``, by the sound they begin with."""
    vowel = re.match(r"(?!uni|eu|one|use)[aeiou]|hour|honest", words, re.IGNORECASE)
    return f"{'an' if vowel else 'a'} {words}"


def negate(operator: str, contracted: bool) -> str:
    """``operator`` (an auxiliary) with its negation."""
    plain = f"{operator} not"
    if contracted and plain in CONTRACTED:
        return CONTRACTED[plain]
    return "cannot" if operator == "can" else plain


DO = EnglishVerb("do", "did", "done", "doing")
HAVE = EnglishVerb("have", "had", "had", "having")
BE_VERB = EnglishVerb("be", "was", "been", "being", stative=True)
# A modal is an invariable auxiliary, or a finite verb, followed by further words and the base form.
MODALS: dict[tuple[str, str], tuple[tuple[str | EnglishVerb, str], ...]] = {
    ("können", "present"): (("can", ""), (BE_VERB, "able to")),
    ("können", "past"): (("could", ""), (BE_VERB, "able to")),
    ("müssen", "present"): ((HAVE, "to"), ("must", "")),
    ("müssen", "past"): ((HAVE, "to"),),
    ("wollen", "present"): ((EnglishVerb("want", "wanted", "wanted", "wanting"), "to"),),
    ("wollen", "past"): ((EnglishVerb("want", "wanted", "wanted", "wanting"), "to"),),
    ("dürfen", "present"): (("may", ""), (BE_VERB, "allowed to")),
    ("dürfen", "past"): ((BE_VERB, "allowed to"),),
    ("sollen", "present"): (("should", ""), (BE_VERB, "supposed to")),
    ("möchten", "present"): (("would", "like to"),),
    ("gern", "present"): ((EnglishVerb("like", "liked", "liked", "liking"), "to"),),
    ("gern", "past"): ((EnglishVerb("like", "liked", "liked", "liking"), "to"),),
}
NEGATED_MODALS: dict[tuple[str, str], tuple[tuple[str | EnglishVerb, str], ...]] = {
    # "must not" would be a prohibition, which is what German "darf nicht" says.
    ("müssen", "present"): ((HAVE, "to"),),
    ("dürfen", "present"): ((BE_VERB, "allowed to"), ("must", "")),
}


def verb_words(
    verb: EnglishVerb,
    tense: str,
    person: int,
    modal: tuple[str | EnglishVerb, str] | None = None,
) -> tuple[str, list[str]]:
    """The operator ("" where do-support would be needed) and the words after it.

    ``tense`` is one of present, past, progressive, past progressive, perfect, perfect progressive,
    past perfect, future, going to, passive, past passive; with ``modal`` only present and past.
    """
    if modal is not None:
        head, rest = modal
        tail = [*rest.split(), verb.base]
        if isinstance(head, str):
            return head, tail
        form = finite(head, tense, person)
        return (form, tail) if head is BE_VERB else ("", [form, *tail])
    if tense in ("present", "past"):
        form = finite(verb, tense, person)
        return (form, []) if verb.base == "be" else ("", [form])
    chains = {
        "progressive": (BE["present"][person], [verb.ing]),
        "past progressive": (BE["past"][person], [verb.ing]),
        "perfect": (finite(HAVE, "present", person), [verb.participle]),
        "perfect progressive": (finite(HAVE, "present", person), ["been", verb.ing]),
        "past perfect": ("had", [verb.participle]),
        "future": ("will", [verb.base]),
        "going to": (BE["present"][person], ["going", "to", verb.base]),
        "passive": (BE["present"][person], ["being", verb.participle]),
        "past passive": (BE["past"][person], [verb.participle]),
    }
    return chains[tense]


def do_support(words: list[str], base: str, tense: str, person: int) -> tuple[str, list[str]]:
    """Operator and words of a simple verb group under negation or inversion: ``does``, ``read``."""
    return finite(DO, tense, person), [base, *words[1:]]
