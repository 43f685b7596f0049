"""Reads sets of labelled sentences as they are distributed."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

Row = tuple[str, ...]  # label and one or two texts


class SetError(Exception):
    """A file that is missing or is not as it should be; the message names it."""


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, line) of a file or of its gzipped form; SetError if there is neither."""
    zipped = path.with_name(f"{path.name}.gz")
    if path.is_file():
        data = path.read_bytes()
    elif zipped.is_file():
        data = gzip.decompress(zipped.read_bytes())
    else:
        raise SetError(f"{path} is missing (and so is {zipped.name})")
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n"), start=1):
        try:
            yield number, line.decode("utf-8").removesuffix("\r")
        except UnicodeDecodeError:
            yield number, line.decode("iso-8859-1").removesuffix("\r")


def labelled_lines(path: Path) -> Iterator[Row]:
    """``LABEL TEXT`` a line."""
    for number, line in lines(path):
        label, space, text = line.partition(" ")
        if not label.isdigit() or not space:
            raise SetError(f"{path}, line {number}: a number, a space and text were expected")
        yield label, clean(text)


def columns(path: Path, names: list[str], wanted: list[int], header: bool) -> Iterator[Row]:
    """The wanted columns of a tab-separated file, in which a quotation mark is like any other."""
    for number, line in lines(path):
        fields = line.split("\t")
        if len(fields) != len(names) or (header and number == 1 and fields != names):
            raise SetError(f"{path}, line {number}: {', '.join(names)} were expected, by tabs")
        if not header or number > 1:
            yield tuple(clean(fields[index]) for index in wanted)


def clean(text: str) -> str:
    """A text without tabs inside and white space around it."""
    return text.replace("\t", " ").strip()


def cola(path: Path) -> Iterator[Row]:
    """The rows of a file of CoLA."""
    return columns(path, ["source", "label", "mark", "sentence"], [1, 3], header=False)


def glue_sst2(path: Path) -> Iterator[Row]:
    """The rows of a file of GLUE's SST-2."""
    return columns(path, ["sentence", "label"], [1, 0], header=True)


def rte(path: Path) -> Iterator[Row]:
    """The rows of a file of RTE."""
    return columns(path, ["index", "sentence1", "sentence2", "label"], [3, 1, 2], header=True)
