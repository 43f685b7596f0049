"""A fixed part of a text: the same lines for the same number, on every machine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from scripts.runs.complete_files import complete

SEED = 1


def choose(total: int, count: int) -> list[int]:
    """The numbers of ``count`` of ``total`` lines, in their order.

    They depend on the two numbers alone, and a larger count holds a smaller one's.
    """
    order = list(range(total))
    random.Random(SEED).shuffle(order)
    return sorted(order[:count])


def write_lines(lines: Sequence[str], chosen: Sequence[int], output: Path) -> None:
    """Write the chosen lines of a text to a file, whole."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with complete(output) as file:
        file.writelines(f"{lines[index]}\n" for index in chosen)
