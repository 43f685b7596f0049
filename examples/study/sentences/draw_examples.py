"""A part of a labelled text, another one for each seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from scripts.runs.complete_files import write


class DrawingError(ValueError):
    """A text from which the examples cannot be drawn; the message names the file."""


def draw(labels: Sequence[str], count: int, seed: int) -> list[int]:
    """The numbers of ``count`` rows, in their order.

    The rows are shuffled; then the first of each class goes to the front, so that every class is
    there however rare it is; the rest stays as it was shuffled, with the classes as frequent as in
    the whole. The first ``count`` are taken, so a larger number holds a smaller one's. This depends
    on the labels, the number and the seed alone, and is the same on every machine.

    Raises:
        DrawingError: there are fewer rows than wanted, or more classes.
    """
    if len(labels) < count:
        raise DrawingError(f"it has {len(labels)} rows, and {count} are wanted: ask for fewer")
    classes = len(set(labels))
    if count < classes:
        raise DrawingError(f"it has {classes} classes, so {count} rows are too few: ask for more")
    order = list(range(len(labels)))
    random.Random(seed).shuffle(order)
    first: dict[str, int] = {}
    for index in order:
        first.setdefault(labels[index], index)
    front = set(first.values())
    chosen = [*first.values(), *(index for index in order if index not in front)][:count]
    return sorted(chosen)


def draw_examples(train: Path, count: int, seed: int, output: Path) -> None:
    """Write ``count`` lines of LABEL<TAB>TEXT[<TAB>TEXT] to OUTPUT, in their order.

    Raises:
        DrawingError: there are too few, or a line is no row.
    """
    if not train.is_file():
        raise DrawingError(f"{train} does not exist")
    lines = train.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if "\t" not in line:
            raise DrawingError(f"{train}, line {number}: LABEL<TAB>TEXT was expected")
    try:
        chosen = draw([line.split("\t")[0] for line in lines], count, seed)
    except DrawingError as error:
        raise DrawingError(f"{train}: {error}") from error
    output.parent.mkdir(parents=True, exist_ok=True)
    write(output, "".join(f"{lines[index]}\n" for index in chosen))
