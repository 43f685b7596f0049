"""The pairs that the published preprocessings drop: too long, too short, too unlike in length."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from pathlib import Path

from scripts.corpora.prepare_text import TextError, find_text, normalize_space, read_pairs
from scripts.runs.complete_files import complete

MAX_WORD_CHARACTERS = 1000  # clean-corpus-n.perl drops pairs with a longer word


def kept(source: str, target: str, ratio: float, most: int) -> bool:
    """Whether clean-corpus-n.perl keeps a pair, of which both sides are tokens with one space.

    Its rules about factors, "|", are left out: the tokenizer has escaped that character.
    """
    sides = source.split(" "), target.split(" ")
    short, long = sorted(map(len, sides))
    return (
        bool(source)
        and bool(target)
        and long <= most
        and long / short <= ratio
        and all(len(word) <= MAX_WORD_CHARACTERS for side in sides for word in side)
    )


def clean(
    prefix: str,
    out: str,
    langs: tuple[str, str],
    ratio: float,
    most: int,
    retained: Path | None = None,
) -> dict[str, int]:
    """clean-corpus-n.perl -ratio RATIO PREFIX LANGS OUT 1 MOST; returns pairs read and kept.

    Pairs with an empty side, with more than `most` tokens on a side, or with more than `ratio`
    times as many on one as on the other are dropped. `retained` gets the numbers of the lines that
    are left, one a line, from 1.
    """
    counts = {"read": 0, "kept": 0}
    with ExitStack() as stack:
        outputs = [stack.enter_context(complete(Path(f"{out}.{lang}"))) for lang in langs]
        numbers = stack.enter_context(complete(retained) if retained else nullcontext())
        for pair in read_pairs(find_text(prefix, langs[0]), find_text(prefix, langs[1])):
            counts["read"] += 1
            source, target = map(normalize_space, pair)
            if not kept(source, target, ratio, most):
                continue
            counts["kept"] += 1
            outputs[0].write(f"{source}\n")
            outputs[1].write(f"{target}\n")
            if numbers is not None:
                numbers.write(f"{counts['read']}\n")
        if not counts["kept"]:
            raise TextError(f"{prefix}: none of {counts['read']} pairs is left after cleaning")
    return counts
