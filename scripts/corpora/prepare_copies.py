"""Copies the texts of a parallel corpus into the data directory, each line checked."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from scripts.corpora.prepare_text import TextError, check_tokens, find_text, read_pairs


def open_texts(folder: Path, name: str, langs: tuple[str, str], stack: ExitStack) -> list[TextIO]:
    """Two files open for writing, ``folder/NAME.LANG``, closed by `stack`."""
    return [
        stack.enter_context((folder / f"{name}.{lang}").open("w", encoding="utf-8", newline="\n"))
        for lang in langs
    ]


def copy_checked(
    prefix: str, langs: tuple[str, str], folder: Path, name: str, tokens: bool = False
) -> int:
    """Copies every line of a text's two sides to ``folder/NAME.LANG``; returns the pairs.

    `tokens`: its words are taken as they are, so that none may be a control symbol.
    """
    count = 0
    sides = [find_text(prefix, lang) for lang in langs]
    with ExitStack() as stack:
        outputs = open_texts(folder, name, langs, stack)
        for pair in read_pairs(*sides):
            count += 1
            for side, output, line in zip(sides, outputs, pair, strict=True):
                if tokens:
                    check_tokens(side, count, line)
                output.write(f"{line}\n")
    return count


def copy_originals(
    prefixes: list[str],
    langs: tuple[str, str],
    folder: Path,
    subsets: dict[str, dict[str, object]],
) -> None:
    """Copies the untokenized test sets and adds their names to `subsets`.

    Raises TextError when one has not as many lines as its tokenized twin.
    """
    folder.mkdir()
    for index, prefix in enumerate(prefixes):
        subset = subsets[f"test{index or ''}"]
        pairs = copy_checked(prefix, langs, folder, f"test{index or ''}")
        if pairs != subset["pairs"]:
            raise TextError(
                f"--original {prefix} has {pairs} lines, but the test set that it is the original "
                f"of, {subset['prefix']}, has {subset['pairs']}"
            )
        subset["original"] = Path(prefix).name
