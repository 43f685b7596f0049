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


def read(path: Path) -> list[Row]:
    """The rows of a TSV file with a header; none if there is no file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, **FORMAT))


def merge(path: Path, key: Sequence[str], rows: Sequence[Row], group: Sequence[str] = ()) -> None:
    """Put rows into the file, in the place of those with the same key.

    Columns that only some of the rows have are empty in the others. The file is replaced whole.

    Args:
        group: part of the key: rows that agree with a new one in these columns go as well.
    """

    def named(row: Row, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(row[name] for name in names)

    replaced = {named(row, group) for row in rows} if group else set()
    merged = {named(row, key): row for row in read(path) if named(row, group) not in replaced}
    merged |= {named(row, key): row for row in rows}
    everything = [merged[name] for name in sorted(merged)]
    columns = list(dict.fromkeys(name for row in everything for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", **FORMAT, lineterminator="\n")
    writer.writeheader()
    writer.writerows(everything)
    write(path, text.getvalue())
