"""Reads the files of the GLUE tasks as they are distributed.

They are tab-separated tables without quoting: a quotation mark is a character like any other, and a
line ends at a line feed alone.  All but two have a header, and columns are found by their names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from examples.language_understanding.sentence_tasks import Task, TaskError

COLA_COLUMNS = ("source", "label", "mark", "sentence")  # its train.tsv and dev.tsv have no header
MSR_TRAIN, MSR_TEST = "msr_paraphrase_train.txt", "msr_paraphrase_test.txt"
DEV_IDS = ("mrpc_dev_ids.tsv", "dev_ids.tsv")
IDENTITIES = ("index", "id")  # the column that a file names its rows in, where it has one


@dataclass(frozen=True)
class Table:
    """One file of a task, and what is taken of it."""

    subset: str  # its name in fairseq's data directory
    file: str
    inputs: tuple[str, ...]  # names of the columns with the sentences
    label: str = ""  # name of the column with the label; none in test sets
    columns: tuple[str, ...] = ()  # names of all columns where the file has no header


@dataclass(frozen=True)
class Example:
    """One line of a file."""

    line: int
    identity: str  # what the file calls the row; without a name its number, from 0
    inputs: tuple[str, ...]
    label: str


def _tables(inputs: tuple[str, ...], label: str) -> tuple[Table, ...]:
    """The three files that most tasks have."""
    return (
        Table("train", "train.tsv", inputs, label),
        Table("valid", "dev.tsv", inputs, label),
        Table("test", "test.tsv", inputs),
    )


_PAIR = ("sentence1", "sentence2")
TABLES: dict[str, tuple[Table, ...]] = {
    "CoLA": (
        Table("train", "train.tsv", ("sentence",), "label", COLA_COLUMNS),
        Table("valid", "dev.tsv", ("sentence",), "label", COLA_COLUMNS),
        Table("test", "test.tsv", ("sentence",)),
    ),
    "SST-2": _tables(("sentence",), "label"),
    "MRPC": _tables(("#1 String", "#2 String"), "Quality"),
    "STS-B": _tables(_PAIR, "score"),
    "QQP": _tables(("question1", "question2"), "is_duplicate"),
    "MNLI": (
        Table("train", "train.tsv", _PAIR, "gold_label"),
        Table("valid", "dev_matched.tsv", _PAIR, "gold_label"),
        Table("valid1", "dev_mismatched.tsv", _PAIR, "gold_label"),
        Table("test", "test_matched.tsv", _PAIR),
        Table("test1", "test_mismatched.tsv", _PAIR),
    ),
    "QNLI": _tables(("question", "sentence"), "label"),
    "RTE": _tables(_PAIR, "label"),
}


def lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(number, fields) of each line of a table; TaskError when it is no text in UTF-8."""
    if not path.is_file():
        raise TaskError(f"{path} does not exist: the folder does not hold the whole task")
    with path.open(encoding="utf-8-sig", newline="\n") as table:
        try:
            for number, line in enumerate(table, start=1):
                yield number, line.rstrip("\r\n").split("\t")
        except UnicodeDecodeError as error:
            raise TaskError(f"{path}: not UTF-8 ({error})") from error


def read(path: Path, table: Table, dropped: list[int] | None = None) -> Iterator[Example]:
    """The examples of one file.

    dropped: receives the numbers of the lines with too few fields; without it they are an error.
    """
    rows = lines(path)
    names = list(table.columns) or next(rows, (1, []))[1]
    wanted = [*table.inputs, *([table.label] if table.label else [])]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise TaskError(
            f"{path}, line 1: no column '{missing[0]}' in the header; it has {', '.join(names)}"
        )
    places = [names.index(name) for name in wanted]
    named = next((names.index(name) for name in IDENTITIES if name in names), None)
    for row, (number, fields) in enumerate(rows):
        if len(fields) < len(names):
            if dropped is None:
                raise TaskError(
                    f"{path}, line {number}: {len(fields)} fields, but there are {len(names)} "
                    "columns; the file is damaged"
                )
            dropped.append(number)
            continue
        values = [fields[place].strip() for place in places]
        count = len(table.inputs)
        identity = str(row) if named is None else fields[named].strip()
        label = values[count] if table.label else ""
        yield Example(number, identity, tuple(values[:count]), label)


def check_label(task: Task, path: Path, example: Example) -> None:
    """TaskError unless the label is one of the task's."""
    if not task.regression:
        if example.label not in task.labels:
            raise TaskError(
                f"{path}, line {example.line}: label '{example.label}' is none of "
                f"{', '.join(task.labels)}"
            )
        return
    low, high = task.limits or (-math.inf, math.inf)
    try:
        inside = low <= float(example.label) <= high
    except ValueError:
        inside = False
    if not inside:
        raise TaskError(
            f"{path}, line {example.line}: score '{example.label}' is not in {low:g} to {high:g}"
        )


def check_identities(path: Path, examples: list[Example]) -> None:
    """TaskError unless each row of a test set, whose predictions go elsewhere, has its own name."""
    seen: dict[str, int] = {}
    for example in examples:
        if not example.identity.isdigit():
            raise TaskError(
                f"{path}, line {example.line}: '{example.identity}' in the first of the columns "
                f"{' or '.join(IDENTITIES)} is no number: the file is damaged"
            )
        first = seen.setdefault(example.identity, example.line)
        if first != example.line:
            raise TaskError(
                f"{path}, line {example.line}: row {example.identity} again, after line {first}: "
                "the file is damaged"
            )


def _dev_ids(folder: Path) -> set[tuple[str, str]]:
    """The pairs of sentence numbers that GLUE took from MRPC's training set for validation."""
    for name in DEV_IDS:
        if (folder / name).is_file():
            return {(fields[0], fields[1]) for _, fields in lines(folder / name) if fields[1:]}
    raise TaskError(
        f"{folder} has {MSR_TRAIN}, but not {DEV_IDS[0]}, which says what of it is for validation"
    )


def _read_msr(folder: Path, table: Table) -> Iterator[Example]:
    """MRPC from the files of the Microsoft Research Paraphrase Corpus."""
    path = folder / MSR_TRAIN
    held_out = _dev_ids(folder)
    numbered = Table(table.subset, MSR_TRAIN, (*table.inputs, "#1 ID", "#2 ID"), table.label)
    for example in read(path, numbered):
        first, second, *ids = example.inputs
        if (tuple(ids) in held_out) == (table.subset == "valid"):
            yield Example(example.line, example.identity, (first, second), example.label)


def read_subset(
    task: Task, folder: Path, table: Table, dropped: list[int]
) -> tuple[Path, list[Example]]:
    """(file, examples) of a subset; each label is one of the task's.  TaskError otherwise."""
    path = folder / table.file
    if task.name == "MRPC" and not path.is_file() and (folder / MSR_TRAIN).is_file():
        path = folder / (MSR_TEST if table.subset == "test" else MSR_TRAIN)
        examples = list(read(path, table) if table.subset == "test" else _read_msr(folder, table))
    else:
        # QQP is distributed with a few broken lines; the published preprocessing leaves them out.
        examples = list(read(path, table, dropped if task.name == "QQP" else None))
    if not examples:
        raise TaskError(f"{path}: no examples for '{table.subset}' in it")
    if table.label:
        for example in examples:
            check_label(task, path, example)
    else:
        check_identities(path, examples)
    return path, examples
