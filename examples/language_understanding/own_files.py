"""Reads a user's own labelled text: tab-separated, CSV or JSONL.

Every line of a file is part of a row, or empty and counted, or an error with file and line.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.language_understanding.own_lines import clean, decoded
from examples.language_understanding.sentence_tasks import TaskError

FORMATS = ".tsv or .txt (tab-separated), .csv or .jsonl"
HEADER_HINT = "if line 1 is a header, name its columns by --label-column and --text-columns"


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are read."""

    label: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One labelled text, or pair of texts."""

    line: int  # where it begins in its file
    label: str
    texts: tuple[str, ...]


@dataclass
class Table:
    """A file."""

    path: Path
    rows: list[Row] = field(default_factory=list)
    empty_lines: int = 0

    def error(self, line: int, what: str) -> TaskError:
        """An error with the place."""
        return TaskError(f"{self.path}, line {line}: {what}")


def read(path: Path, columns: Columns | None, like: Table | None = None) -> Table:
    """The rows of a file, in its order.

    columns: the names of columns; without them a tab-separated file has no header, and the others
        have the columns "label" and "text".
    like: a file that has as many texts in a row as this one must have.
    """
    readers = {".tsv": _tabbed, ".txt": _tabbed, ".csv": _csv, ".jsonl": _jsonl}
    if path.suffix not in readers:
        raise TaskError(f"{path}: its name must end in {FORMATS}, which says how it is read")
    if not path.is_file():
        raise TaskError(f"{path} does not exist, or is no file")
    table = Table(path)
    with path.open("rb") as stream:
        fields = readers[path.suffix](table, decoded(stream, str(path)), columns)
        for line, values in fields:
            label, *texts = (clean(value) for value in values)
            _check(table, line, label, tuple(texts), like or table)
            table.rows.append(Row(line, label, tuple(texts)))
    if not table.rows:
        raise TaskError(f"{path}: no rows in it")
    return table


def _check(table: Table, line: int, label: str, texts: tuple[str, ...], like: Table) -> None:
    """TaskError where something is empty, or the row is not like the first one."""
    if not label:
        raise table.error(line, "the label is empty")
    for number, text in enumerate(texts, start=1):
        if not text:
            which = "the text" if len(texts) == 1 else f"text {number} of the pair"
            raise table.error(line, f"{which} is empty")
    if like.rows and len(texts) != len(like.rows[0].texts):
        raise table.error(
            line,
            f"{len(texts) + 1} fields, but line {like.rows[0].line} of {like.path.name} has "
            f"{len(like.rows[0].texts) + 1}: every row has one text, or every row a pair",
        )


Lines = Iterator[tuple[int, str]]
Fields = Iterator[tuple[int, list[str]]]


def _tabbed(table: Table, lines: Lines, columns: Columns | None) -> Fields:
    """LABEL<TAB>TEXT[<TAB>TEXT] without a header; with names of columns, a table with a header.

    A quotation mark is a character like any other.
    """
    split = ((number, line.rstrip("\r\n")) for number, line in lines)
    rows = ((number, line.split("\t") if line.strip(" ") else []) for number, line in split)
    if columns is not None:
        yield from _named(table, rows, columns)
        return
    for number, fields in _filled(table, rows):
        if len(fields) not in (2, 3):
            raise table.error(
                number,
                f"{len(fields)} fields where LABEL<TAB>TEXT or LABEL<TAB>TEXT<TAB>TEXT was "
                f"expected; of a table with other columns, {HEADER_HINT}",
            )
        yield number, fields


def _csv(table: Table, lines: Lines, columns: Columns | None) -> Fields:
    """Comma-separated with a header; a quoted field may have line ends."""
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader((line for _, line in lines), strict=True)

    def rows() -> Fields:
        start = 1
        try:
            for fields in reader:
                yield start, fields
                start = reader.line_num + 1
        except csv.Error as error:
            raise table.error(
                start, f"in the row that begins here, line {reader.line_num} is no CSV: {error}"
            ) from error

    yield from _named(table, rows(), columns or Columns("label", ("text",)))


def _named(table: Table, rows: Fields, columns: Columns) -> Fields:
    """The columns of these names."""
    filled = _filled(table, rows)
    first, header = next(filled, (1, []))
    names = [clean(name) for name in header]
    places = []
    for name in (columns.label, *columns.texts):
        if names.count(name) != 1:
            count = "no column" if name not in names else "more than one column"
            raise table.error(
                first,
                f"{count} '{name}' in the header; it has {', '.join(names) or 'nothing'}; "
                "--label-column and --text-columns name those to be read",
            )
        places.append(names.index(name))
    for number, fields in filled:
        if len(fields) != len(names):
            raise table.error(
                number, f"{len(fields)} fields, but the header has {len(names)} columns"
            )
        yield number, [fields[place] for place in places]


def _filled(table: Table, rows: Fields) -> Fields:
    """The rows that are not empty lines; those are counted."""
    for number, fields in rows:
        if fields:
            yield number, fields
        else:
            table.empty_lines += 1


def _jsonl(table: Table, lines: Lines, columns: Columns | None) -> Fields:
    """An object a line; numbers stay as they are written."""
    wanted = columns or Columns("label", ("text",))
    for number, line in lines:
        if not line.strip():
            table.empty_lines += 1
            continue
        try:
            found = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
        except ValueError as error:
            raise table.error(number, f"not valid JSON ({error})") from error
        if not isinstance(found, dict):
            raise table.error(number, "a JSON object was expected")
        yield number, [_value(table, number, found, n) for n in (wanted.label, *wanted.texts)]


def _value(table: Table, line: int, found: dict[str, Any], name: str) -> str:
    if name not in found:
        raise table.error(
            line,
            f"no '{name}' in the object; it has {', '.join(found) or 'nothing'}; --label-column "
            "and --text-columns name what is to be read",
        )
    value = found[name]
    if isinstance(value, bool):
        return json.dumps(value)
    if not isinstance(value, str):
        raise table.error(line, f"'{name}' is {json.dumps(value)}: a text or number was expected")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise table.error(line, f"'{name}' holds half a character ({error.reason})") from error
    return value
