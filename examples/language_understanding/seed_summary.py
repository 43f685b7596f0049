"""Medians and spreads over seeds, from the scores files that evaluate.py wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from examples.language_understanding.sentence_tasks import TaskError, read_tasks

METHODS = ("plain", "rdrop", "lrdrop")
HEADER = (
    "task",
    "subset",
    "metric",
    "model",
    "method",
    "seeds",
    "median",
    "min",
    "max",
    "quartiles",
    "undefined",
)


@dataclass(frozen=True)
class Group:
    """The runs that differ by their seed alone."""

    task: str
    subset: str
    arch: str
    method: str
    model: str  # the pretrained checkpoint
    flags: str  # what was given to finetune.sh after --


Grouped = dict[Group, dict[int, dict[str, float | None]]]


def read_scores(folders: Iterable[Path]) -> Grouped:
    """The scores of each seed by group, in their order; TaskError if there are none."""
    grouped: Grouped = {}
    seen: dict[tuple[Group, int], Path] = {}
    for folder in folders:
        paths = sorted(folder.rglob("scores.*.json"))
        if not paths:
            raise TaskError(f"{folder}: no scores.*.json in it; run evaluate.py score first")
        for path in paths:
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
                group = Group(**{field.name: found[field.name] for field in fields(Group)})
                seed, scores = found["seed"], found["scores"]
            except (ValueError, KeyError) as error:
                raise TaskError(
                    f"{path}: not what evaluate.py writes ({error!r}); score again with --force"
                ) from error
            other = seen.setdefault((group, seed), path)
            if other != path:
                raise TaskError(f"{other} and {path} are of the same run and seed: name one folder")
            grouped.setdefault(group, {})[seed] = scores
    return dict(sorted(grouped.items(), key=lambda item: order(item[0])))


def order(group: Group) -> tuple[object, ...]:
    """Where a group stands in the table and the plot: as in tasks.tsv, then own text by name."""
    tasks = list(read_tasks())
    place = tasks.index(group.task) if group.task in tasks else len(tasks)
    method = METHODS.index(group.method)
    return (place, group.task, group.subset, group.arch, method, group.model, group.flags)


def titles(groups: Iterable[Group]) -> dict[Group, str]:
    """A name of each group's method; with checkpoint and flags where others differ in them."""
    groups = list(groups)
    names = {}
    for group in groups:
        like = (group.task, group.subset, group.arch, group.method)
        twins = [g for g in groups if (g.task, g.subset, g.arch, g.method) == like]
        name = group.method
        if len({twin.model for twin in twins}) > 1:
            name += f" {group.model}"
        if len({twin.flags for twin in twins}) > 1:
            name += f" {group.flags}"
        names[group] = name.strip()
    return names


def rows(grouped: Grouped) -> list[tuple[str, ...]]:
    """The table's rows, a metric of a group each."""
    names = titles(grouped)
    table = []
    for group, seeds in grouped.items():
        for metric in next(iter(seeds.values())):
            all_values = [seed[metric] for seed in seeds.values()]
            values = [value for value in all_values if value is not None]
            spread = ["-"] * 4
            if values:
                low, median, high = np.percentile(values, [25, 50, 75])
                spread = [f"{x:.2f}" for x in (median, min(values), max(values))]
                spread.append(f"{low:.2f} to {high:.2f}" if len(values) > 2 else "-")
            undefined = str(len(all_values) - len(values))
            where = (group.task, group.subset, metric, group.arch, names[group])
            table.append((*where, str(len(all_values)), *spread, undefined))
    return table


def as_text(table: list[tuple[str, ...]]) -> str:
    """The table for reading, with what its numbers are."""
    widths = [max(map(len, column)) for column in zip(HEADER, *table)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        for row in (HEADER, *table)
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    lines += ["", "In percent, over seeds. undefined: seeds without a correlation, because their"]
    lines.append(
        "predictions are all equal or not finite; they are in none of the numbers before it."
    )
    if any(row[HEADER.index("seeds")] == "1" for row in table):
        lines.append("A row of one seed says little: on the small tasks seeds differ by points.")
    return "\n".join(lines)


def as_tsv(table: list[tuple[str, ...]]) -> str:
    """The table for programs."""
    return "".join("\t".join(row) + "\n" for row in (HEADER, *table))
