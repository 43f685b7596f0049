"""One table for people, one CSV for programs, and how far the work is."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tabulate import tabulate  # sacreBLEU brings it along

from scripts.runs.complete_files import complete


@dataclass
class Row:
    """What a contender needs on a shape.

    Attributes:
        status: "ok", or why there are no numbers.
        seconds: median, of an update.
        allocated: peak bytes in use.
        resident: the same as the process takes them, on a CPU: more, because the C library keeps
            freed memory for itself. None on a GPU.
        phases: median seconds of each.
    """

    shape: str
    name: str
    status: str = "ok"
    seconds: float | None = None
    allocated: int | None = None
    resident: int | None = None
    phases: dict[str, float] = field(default_factory=dict)


# The contenders that the ratios refer to.
BASES = ("R0", "R1f", "R2")


def print_table(rows: list[Row]) -> None:
    """Markdown, as the README shows it."""
    lines = []
    for row in rows:
        line = {"shape": row.shape, "step": row.name}
        line["seconds"] = row.status if row.seconds is None else f"{row.seconds:.3f}"
        line |= {f"/ {base}": _text(value) for base, value in _ratios(row, rows, "seconds").items()}
        line["GiB"] = _gibibytes(row.allocated)
        line |= {f"/ {base} ": _text(x) for base, x in _ratios(row, rows, "allocated").items()}
        line["RSS GiB"] = _gibibytes(row.resident)
        line |= {phase: f"{seconds:.3f}" for phase, seconds in row.phases.items()}
        lines.append(line)
    print_lines(lines)


def print_lines(lines: Sequence[Mapping[str, str]]) -> None:
    """A table in Markdown with the keys of the lines as its header."""
    print("\n" + tabulate(lines, headers="keys", tablefmt="github", disable_numparse=True))


def write_csv(path: Path, rows: list[Row], machine: dict[str, str]) -> None:
    """One line per shape and contender."""
    lines: list[dict[str, object]] = []
    for row in rows:
        line: dict[str, object] = {"shape": row.shape, "step": row.name}
        line |= {"status": row.status, "seconds": row.seconds}
        line |= {"allocated_bytes": row.allocated, "resident_bytes": row.resident}
        line |= {f"time_over_{base}": x for base, x in _ratios(row, rows, "seconds").items()}
        line |= {f"memory_over_{base}": x for base, x in _ratios(row, rows, "allocated").items()}
        lines.append(line | {f"{p}_seconds": s for p, s in row.phases.items()} | machine)
    write_lines(path, lines)


def write_lines(path: Path, lines: Sequence[Mapping[str, object]]) -> None:
    """A CSV with the keys of all lines as its header; complete or not there."""
    with complete(path) as file:
        keys = dict.fromkeys(key for line in lines for key in line)
        writer = csv.DictWriter(file, fieldnames=list(keys), restval="")
        writer.writeheader()
        writer.writerows(lines)


def progress(text: str) -> None:
    """On a terminal in one line, elsewhere in one each; "" at the end."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


def _ratios(row: Row, rows: list[Row], quantity: str) -> dict[str, float | None]:
    """``quantity`` of a row over that of each base on the same shape; None if one did not run."""
    values = {other.name: getattr(other, quantity) for other in rows if other.shape == row.shape}
    own = values[row.name]
    return {
        base: own / values[base] if own is not None and values.get(base) is not None else None
        for base in BASES
    }


def _gibibytes(count: int | None) -> str:
    return "" if count is None else f"{count / 2**30:.2f}"


def _text(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
