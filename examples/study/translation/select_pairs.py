"""A fixed part of a parallel text: the same pairs for the same number, in every language."""

from __future__ import annotations

from pathlib import Path

from examples.study.chosen_lines import choose, write_lines
from scripts.corpora.prepare_text import TextError, find_text, read_lines


def select_pairs(prefix: Path, languages: tuple[str, str], count: int, output: Path) -> None:
    """Write ``count`` lines of PREFIX.LANG to OUTPUT.LANG, in their order, for both languages.

    Which ones depends on the two numbers of lines alone: texts of other languages with as many
    lines (Multi30k's) give the same captions. Larger counts hold the smaller ones' pairs.

    Raises:
        TextError: the sides differ in their number of lines, or have fewer than ``count``.
    """
    sides = {language: list(read_lines(find_text(str(prefix), language))) for language in languages}
    first, second = (len(lines) for lines in sides.values())
    if first != second:
        raise TextError(
            f"{prefix}: {first} lines in {languages[0]}, {second} in {languages[1]}: the two files "
            "are not translations line by line"
        )
    if first < count:
        raise TextError(f"{prefix} has {first} pairs, and {count} are wanted: ask for fewer")
    chosen = choose(first, count)
    for language, lines in sides.items():
        write_lines(lines, chosen, Path(f"{output}.{language}"))
