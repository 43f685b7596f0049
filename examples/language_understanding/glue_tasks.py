"""The two tables of this folder: tasks.tsv (what a task is and how it is fine-tuned) and sizes.tsv.

    python glue_tasks.py TASK

prints the task's row of tasks.tsv without its source, for the shell.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


class GlueError(Exception):
    """What is wrong, where, and what to do about it."""


@dataclass(frozen=True)
class Task:
    """One GLUE task."""

    name: str
    classes: int  # 1: regression
    labels: tuple[str, ...]  # as they stand in the files, in the order of the classes
    metric: str  # fairseq's name of what chooses the best checkpoint
    lr: str
    batch_size: int
    total_updates: int
    warmup_updates: int

    @property
    def regression(self) -> bool:
        """Whether a number is predicted, not a class."""
        return self.classes == 1


def _rows(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table, delimiter="\t"))


def read_tasks() -> dict[str, Task]:
    """All tasks by name, in the order of the table."""
    return {
        row["task"]: Task(
            name=row["task"],
            classes=int(row["classes"]),
            labels=() if row["labels"] == "-" else tuple(row["labels"].split(",")),
            metric=row["metric"],
            lr=row["lr"],
            batch_size=int(row["batch_size"]),
            total_updates=int(row["total_updates"]),
            warmup_updates=int(row["warmup_updates"]),
        )
        for row in _rows("tasks.tsv")
    }


def read_task(name: str) -> Task:
    """One task; GlueError when there is none of that name."""
    tasks = read_tasks()
    if name not in tasks:
        raise GlueError(f"'{name}' is no task: {', '.join(tasks)}")
    return tasks[name]


def read_sizes(task: str) -> dict[str, int]:
    """The published number of examples of each subset of a task."""
    return {
        row["subset"]: int(row["examples"]) for row in _rows("sizes.tsv") if row["task"] == task
    }


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        task = read_task(arguments[0])
    except GlueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(
        task.classes,
        task.metric,
        task.lr,
        task.batch_size,
        task.total_updates,
        task.warmup_updates,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
