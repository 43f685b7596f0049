"""Tables in TSV files that grow: rows of other runs and machines stay."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.runs.complete_files import write

Row = dict[str, str]
# Plain values between tabs: none holds a tab or a line end, and quotation marks mean themselves.
FORMAT: Any = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None}


def read(path: Path, key: Sequence[str] = (), columns: Sequence[str] = ()) -> list[Row]:
    """The rows of a TSV file with a header; none if there is no file.

    Args:
        key: columns that tell the rows apart.
        columns: further ones that there must be.

    Raises:
        ValueError: a column is missing, a row has too few or too many, or two have the same key.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines, **FORMAT)
        if missing := {*key, *columns}.difference(reader.fieldnames or ()):
            raise ValueError(
                f"{path} has no column {', '.join(sorted(missing))}: is it another file?"
            )
        rows = list(reader)
    seen: dict[tuple[str, ...], int] = {}
    for number, row in enumerate(rows, start=2):  # a value holds no line end
        if None in row or None in row.values():
            raise ValueError(f"{path}, line {number}: not as many values as the header has columns")
        if key and (first := seen.setdefault(named(row, key), number)) != number:
            name = " ".join(named(row, key))
            raise ValueError(f"{path} has {name} twice, in lines {first} and {number}: keep one")
    return rows


def named(row: Row, columns: Sequence[str]) -> tuple[str, ...]:
    """The values of these columns."""
    return tuple(row[column] for column in columns)


def merge(path: Path, key: Sequence[str], rows: Sequence[Row], group: Sequence[str] = ()) -> None:
    """Put rows into the file, in the place of those with the same key.

    Columns that only some of the rows have are empty in the others. The file is replaced whole.

    Args:
        group: part of the key: rows that agree with a new one in these columns go as well.
    """
    replaced = {named(row, group) for row in rows} if group else set()
    merged = {named(row, key): row for row in read(path, key) if named(row, group) not in replaced}
    merged |= {named(row, key): row for row in rows}
    everything = [merged[name] for name in sorted(merged)]
    columns = list(dict.fromkeys(name for row in everything for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", **FORMAT, lineterminator="\n")
    writer.writeheader()
    writer.writerows(everything)
    write(path, text.getvalue())
