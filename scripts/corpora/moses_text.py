"""The text functions of the published preprocessings, one line at a time, as Moses' scripts do it.

``tokenizer`` is tokenizer.perl with its defaults (special characters escaped, as in ``&apos;``),
``normalizer`` is normalize-punctuation.perl and then remove-non-printing-char.perl. Both are built
on sacremoses with its departures from the Perl scripts repaired; each repair says what it is for.
With them, the captions of Multi30k, the test talks of IWSLT17 and random words, punctuation and
scripts in six languages came out as from Perl (Moses of March 2021, Perl 5.36), except for text
with the word DOTMULTI, a mark of the Perl script's own, and lines of nothing but exotic spaces.

Languages with rules that sacremoses lacks are refused: Catalan, Finnish, Irish, Somali, Swedish,
Tetum.

Chinese has no spaces to tokenize at; the Perl script would leave whole clauses as one token. Here
every character that sacreBLEU's tokenizer ``zh`` separates is a token, the rest is Moses'.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import regex  # sacremoses' own dependency; the one of the two with Unicode's properties
import sacremoses

from scripts.corpora.parallel_lines import LineFunction
from scripts.corpora.prepare_text import TextError

UNSUPPORTED = {"ca", "fi", "ga", "so", "sv", "tdt"}
# The blocks that sacreBLEU's tokenizer zh takes for Chinese, punctuation and wide forms included.
CHINESE = regex.compile(
    "([\u2e80-\u2eff\u2f00-\u2fdf\u2ff0-\u303f\u3100-\u312f\u31a0-\u31bf\u31c0-\u31ef"
    "\u3200-\u33ff\u3400-\u4db5\u4e00-\u9fbb\uf900-\ufa2d\ufa30-\ufa6a\ufa70-\ufad9\ufe10-\ufe1f"
    "\ufe30-\ufe4f\uff00-\uffef\u2600-\u27bf\U00020000-\U0002a6d6\U0002f800-\U0002fa1d])"
)


class Tokenizer(sacremoses.MosesTokenizer):
    """sacremoses' tokenizer, repaired where it departs from tokenizer.perl."""

    def __init__(self, lang: str) -> None:
        super().__init__(lang)
        # Its character classes are lists from an old Unicode, without Chinese or Korean letters
        # and with marks that Perl does not count; and Python takes the separators \x1c-\x1f for
        # white space, which Perl removes. With Unicode's own properties it is also faster.
        for name in dir(sacremoses.MosesTokenizer):
            value = getattr(sacremoses.MosesTokenizer, name)
            if isinstance(value, tuple) and isinstance(value[0], re.Pattern):
                setattr(self, name, _with_properties(value))
            elif name.endswith("_SPECIFIC_APOSTROPHE") and isinstance(value, list):
                setattr(self, name, [_with_properties(rule) for rule in value])

    def islower(self, text: str) -> bool:
        return regex.match(r"\p{Lowercase}", text) is not None

    def isanyalpha(self, text: str) -> bool:
        return regex.search(r"\p{Alphabetic}", text) is not None

    def handles_nonbreaking_prefixes(self, text: str) -> str:
        # A full stop after the last word always stands alone: "in the U.S ." (Moses since 2018).
        handled: str = super().handles_nonbreaking_prefixes(text)
        separated: str = regex.sub(r"(\S)\.$", r"\1 .", handled)
        return separated


def _with_properties(rule: tuple[re.Pattern[str], str]) -> tuple[Any, str]:
    """A rule of sacremoses with Unicode properties for its lists of characters."""
    moses = sacremoses.MosesTokenizer
    pattern = rule[0].pattern
    for characters, prop in (
        (moses.IsAlnum, r"\p{Alnum}"),
        (moses.IsAlpha, r"\p{Alphabetic}"),
        (moses.IsN, r"\p{N}"),
    ):
        pattern = pattern.replace(characters, prop)
    return regex.compile(pattern), rule[1]


@dataclass(frozen=True)
class Steps:
    """Which of Moses' scripts text of a language goes through, in this order."""

    lang: str
    straight_apostrophes: bool = False  # the character U+2019 to ', in every place
    replace_punctuation: bool = False  # replace-unicode-punctuation.perl
    normalize: bool = False  # normalize-punctuation.perl, remove-non-printing-char.perl
    aggressive: bool = False  # tokenizer.perl -a: "a-b" to "a @-@ b"
    no_escape: bool = False  # tokenizer.perl -no-escape: ' stays ', not &apos;
    lowercase: bool = False  # lowercase.perl


def tokenizer(steps: Steps) -> LineFunction:
    """The function from a line of text to its tokens with one space between.

    The punctuation of Chinese is neither replaced nor normalized. Raises TextError for a language
    whose rules are not there.
    """
    check_language(steps.lang)
    moses = Tokenizer(steps.lang)
    clean = normalizer(steps.lang, steps.replace_punctuation) if steps.normalize else str

    def tokenize(line: str) -> str:
        if steps.straight_apostrophes:
            line = line.replace("\u2019", "'")
        line = clean(line)
        if steps.lang == "zh":
            line = CHINESE.sub(r" \1 ", line)
        line = moses.tokenize(line, steps.aggressive, return_str=True, escape=not steps.no_escape)
        return lower(line) if steps.lowercase else line

    return tokenize


def check_language(lang: str) -> None:
    """Raises TextError for a language whose rules are not there."""
    if lang in UNSUPPORTED:
        raise TextError(
            f"sacremoses does not have Moses' tokenizer rules for the language '{lang}'; "
            f"tokenize its text with tokenizer.perl and take prepare.sh --pretokenized"
        )


def lower(line: str) -> str:
    """lowercase.perl. Python writes a capital sigma at the end of a word as \u03c2, Perl never."""
    return line.replace("\u03a3", "\u03c3").lower()


def normalizer(lang: str, replace_punctuation: bool = False) -> LineFunction:
    """normalize-punctuation.perl -l LANG, then remove-non-printing-char.perl.

    With replace-unicode-punctuation.perl before them if asked; of Chinese just the last.
    """
    if lang == "zh":
        return lambda line: regex.sub(r"\p{C}", " ", line)
    punctuation = sacremoses.MosesPunctNormalizer(
        lang, perl_parity=True, pre_replace_unicode_punct=replace_punctuation
    )
    # The Perl script reads bytes: only ASCII digits and spaces are such to it.
    punctuation.substitutions = [
        (re.compile(pattern, re.ASCII), text) for pattern, text in punctuation.substitutions
    ]

    def normalize(line: str) -> str:
        # It also sees the line's end, where German ends a quotation with '."', and turns the two.
        normalized: str = regex.sub(r"\p{C}", " ", punctuation.normalize(f"{line}\n"))
        return normalized

    return normalize
