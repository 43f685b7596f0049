#!/usr/bin/env python
"""Turns public sets of labelled sentences, as they are distributed, into files for studies.

    prepare_sets.py RAW OUTPUT [--only NAME[,NAME]]

RAW has ``sentence-classification`` (files of ``LABEL TEXT`` lines) and ``glue`` (GLUE's folders).
OUTPUT/SET gets train.tsv, valid.tsv and test.tsv of LABEL<TAB>TEXT[<TAB>TEXT] lines.

    set        files                                 test               valid
    trec       TREC.train.all, TREC.test.all         its own            500 of train
    sst2       stsa.binary.{train,dev,test}          its own            its own
    mr         rt-polarity.all                       1,000 of all       500 of all
    cr         custrev.all                           1,000 of all       500 of all
    subj       subj.all                              1,000 of all       500 of all
    mpqa       mpqa.all                              1,000 of all       500 of all
    cola       CoLA/{train,dev}.tsv                  dev, as published  500 of train
    glue-sst2  SST-2/{train,dev}.tsv                 dev, as published  500 of train
    rte        RTE/{train,dev}.tsv                   dev, as published  300 of train

train is what is left. Which rows are taken is drawn once and for all, the same on every machine,
and every file keeps the order of the distributed one. Lines that are not UTF-8 are read as
ISO-8859-1, tabs within a text become a space, and a file may be gzipped. Rows without any text,
which MPQA and CR have, are left out and counted. Texts that are in train and in test are counted,
and stay.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # a command may be given anywhere
from examples.language_understanding.study.set_files import (
    Row,
    SetError,
    cola,
    glue_sst2,
    labelled_lines,
    rte,
)

SEED = 1
SUBSETS = ("train", "valid", "test")


@dataclass(frozen=True)
class Source:
    """Where a set comes from: its files by subset, and how many rows are drawn out of train."""

    read: Callable[[Path], Iterator[Row]]
    files: dict[str, str]
    drawn: dict[str, int]


def _whole(name: str) -> Source:
    """One file that has no split of its own."""
    files = {"train": f"sentence-classification/{name}"}
    return Source(labelled_lines, files, {"test": 1000, "valid": 500})


def _glue(read: Callable[[Path], Iterator[Row]], name: str, valid: int) -> Source:
    files = {"train": f"glue/{name}/train.tsv", "test": f"glue/{name}/dev.tsv"}
    return Source(read, files, {"valid": valid})


SETS = {
    "trec": Source(
        labelled_lines,
        {s: f"sentence-classification/TREC.{s}.all" for s in ("train", "test")},
        {"valid": 500},
    ),
    "sst2": Source(
        labelled_lines,
        {
            subset: f"sentence-classification/stsa.binary.{name}"
            for subset, name in {"train": "train", "valid": "dev", "test": "test"}.items()
        },
        {},
    ),
    "mr": _whole("rt-polarity.all"),
    "cr": _whole("custrev.all"),
    "subj": _whole("subj.all"),
    "mpqa": _whole("mpqa.all"),
    "cola": _glue(cola, "CoLA", 500),
    "glue-sst2": _glue(glue_sst2, "SST-2", 500),
    "rte": _glue(rte, "RTE", 300),
}


def split(rows: list[Row], drawn: dict[str, int], where: str) -> dict[str, list[Row]]:
    """Rows drawn for other subsets, and the rest as train; each in the order of the rows."""
    if sum(drawn.values()) >= len(rows):
        raise SetError(f"{where}: {len(rows)} rows, of which {drawn} cannot be drawn")
    order = list(range(len(rows)))
    random.Random(SEED).shuffle(order)
    found, start = {}, 0
    for subset, count in drawn.items():
        found[subset] = [rows[index] for index in sorted(order[start : start + count])]
        start += count
    return {"train": [rows[index] for index in sorted(order[start:])], **found}


def read_set(source: Source, raw: Path) -> tuple[dict[str, list[Row]], int]:
    """The rows of each subset, and how many had no text."""
    read = {subset: list(source.read(raw / name)) for subset, name in source.files.items()}
    subsets = {subset: [row for row in rows if all(row)] for subset, rows in read.items()}
    if source.drawn:
        subsets |= split(subsets["train"], source.drawn, source.files["train"])
    there, kept = (sum(map(len, found.values())) for found in (read, subsets))
    empty = sum(not all(row) for rows in read.values() for row in rows)
    if there != kept + empty:
        raise SetError(f"{raw}: {there} rows were read, but {kept} written and {empty} left out")
    return subsets, empty


def write_set(folder: Path, subsets: dict[str, list[Row]]) -> None:
    """The three files, each of which appears only when it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    for subset, rows in subsets.items():
        aside = folder / f"{subset}.part"
        aside.write_bytes("".join("\t".join(row) + "\n" for row in rows).encode())
        os.replace(aside, folder / f"{subset}.tsv")


def describe(name: str, subsets: dict[str, list[Row]], empty: int) -> str:
    """A line on what came out."""
    train = {row[1:] for row in subsets["train"]}
    both = sum(row[1:] in train for row in subsets["test"])
    counts = ", ".join(
        f"{subset} {len(subsets[subset]):,}" for subset in ("train", "valid", "test")
    )
    classes = len({row[0] for row in subsets["train"]})
    left = f"; {empty} without text left out" if empty else ""
    return f"{name}: {counts}; {classes} classes; {both} of test in train too{left}"


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", type=Path, metavar="RAW")
    parser.add_argument("output", type=Path, metavar="OUTPUT")
    parser.add_argument("--only", default=",".join(SETS), help="sets to make (default: all)")
    options = parser.parse_args()
    try:
        for name in options.only.split(","):
            if name not in SETS:
                raise SetError(f"--only: there is no set '{name}'; there are {', '.join(SETS)}")
            subsets, empty = read_set(SETS[name], options.raw)
            write_set(options.output / name, subsets)
            print(describe(name, subsets, empty))
    except (SetError, OSError) as error:
        print(f"prepare_sets.py: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
