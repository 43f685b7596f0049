"""The labels of a user's own text: which there are, in which order, and what cannot be one."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping

from examples.language_understanding.own_files import HEADER_HINT, Row, Table
from examples.language_understanding.sentence_tasks import TaskError

# What fairseq's Dictionary has already.
TAKEN = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
SHOWN = 10  # labels in an error
# What a column of labels is called, and no label.
HEADERS = ("label", "labels", "class", "category", "target", "sentiment", "intent")


def classes(tables: Mapping[str, Table]) -> tuple[str, ...]:
    """The labels of train in their order: numbers by value where all are whole, else by letters.

    TaskError where there is only one, or another subset has others.
    """
    train = tables["train"]
    _check_header(tables)
    found = {row.label for row in train.rows}
    for row in train.rows:
        if row.label in TAKEN:
            raise train.error(row.line, f"the label '{row.label}' has a meaning of its own here")
    if len(found) == 1:
        raise TaskError(
            f"{train.path}: every label is '{train.rows[0].label}', but a classification needs "
            "two at least"
        )
    labels = _sorted(found)
    for table in tables.values():
        for row in table.rows:
            if row.label not in found:
                raise table.error(
                    row.line,
                    f"the label '{row.label}' is none of the {len(labels)} that "
                    f"{train.path.name} has: {_shown(labels)}",
                )
    return labels


def _sorted(labels: set[str]) -> tuple[str, ...]:
    if all(re.fullmatch(r"[+-]?[0-9]+", label) for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))


def _shown(labels: tuple[str, ...]) -> str:
    more = ", …" if len(labels) > SHOWN else ""
    return ", ".join(labels[:SHOWN]) + more


def _check_header(tables: Mapping[str, Table]) -> None:
    """TaskError where the first line is a header that was read as a row.

    That is, its label is that of no row but the first of a file, and either every file begins with
    the same line, or the label is one of ``HEADERS``.
    """
    train = tables["train"]
    first = train.rows[0]
    if train.path.suffix == ".jsonl" or first.line > 1:
        return
    if any(row.label == first.label for table in tables.values() for row in table.rows[1:]):
        return
    if all(table.rows[0] == first for table in tables.values()):
        raise train.error(
            1, f"the same line begins every file, '{first.label}' and text: {HEADER_HINT}"
        )
    if first.label.lower() in HEADERS:
        raise train.error(1, f"no other row has the label '{first.label}': {HEADER_HINT}")


def check_numbers(tables: Mapping[str, Table]) -> None:
    """TaskError unless every label is a number, and every subset has two different ones."""
    for table in tables.values():
        for row in table.rows:
            if not _finite(row):
                hint = f"; {HEADER_HINT}" if row.line == 1 else ""
                raise table.error(row.line, f"'{row.label}' is no number{hint}")
        if len({float(row.label) for row in table.rows}) == 1:
            raise TaskError(
                f"{table.path}: every number is {table.rows[0].label}, so that there is nothing "
                "to learn, or no correlation to score"
            )


def _finite(row: Row) -> bool:
    try:
        return math.isfinite(float(row.label))
    except ValueError:
        return False


def describe(table: Table, regression: bool) -> dict[str, object]:
    """How often each label occurs, or the range of the numbers."""
    if not regression:
        counts = Counter(row.label for row in table.rows)
        return {"label_counts": {label: counts[label] for label in _sorted(set(counts))}}
    numbers = [float(row.label) for row in table.rows]
    mean = sum(numbers) / len(numbers)
    return {"numbers": {"min": min(numbers), "max": max(numbers), "mean": mean}}
