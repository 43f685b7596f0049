"""What a task is and how it is fine-tuned: GLUE's by tasks.tsv and sizes.tsv, own text by its data.

    sentence_tasks.py TASK DATA [--epochs N]

prints the task's settings for the shell: classes, metric, learning rate, batch size, updates,
warm-up updates, and the largest batch in tokens (0: any).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent

OWN_TEXT = "own text"  # what prepare.json calls it
IDS = "ids"  # folder of a GLUE data directory: the names of the rows of each subset, one a line

# Own text: learning rate and batch size are among those that BERT's paper (arXiv 1810.04805, A.3)
# found to work well across tasks; the largest number of epochs, the part of the updates that is
# warm-up, and the tokens of a batch of GLUE are fairseq's for RoBERTa.
OWN_LR, OWN_BATCH_SIZE, OWN_EPOCHS, WARMUP = "5e-05", 16, 10, 0.06
GLUE_MAX_TOKENS = 4400


class TaskError(Exception):
    """What is wrong, where, and what to do about it."""


@dataclass(frozen=True)
class Task:
    """One GLUE task, or own text."""

    name: str
    classes: int  # 1: regression
    labels: tuple[str, ...]  # as they stand in the files, in the order of the classes
    metric: str  # fairseq's name of what chooses the best checkpoint
    lr: str
    batch_size: int
    total_updates: int
    warmup_updates: int
    max_tokens: int = GLUE_MAX_TOKENS  # of a batch; 0: any number
    own_text: bool = False

    @property
    def limits(self) -> tuple[float, float] | None:
        """The smallest and the largest number of a regression; None where they are not known."""
        return (0.0, 5.0) if self.name == "STS-B" else None

    @property
    def scale(self) -> float:
        """What a number is divided by for the training: STS-B's become 0 to 1."""
        return self.limits[1] if self.limits else 1.0

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


def read_task(name: str, data: Path | None = None, epochs: int | None = None) -> Task:
    """One task of GLUE, or that of the own text in data/name; TaskError when there is none.

    epochs: of own text; the updates of GLUE's tasks are in the table.
    """
    tasks = read_tasks()
    if name in tasks:
        if epochs:
            raise TaskError(
                f"--epochs is for own text; {name} has {tasks[name].total_updates} updates "
                "(tasks.tsv), and others by -- --max-update N --total-num-update N"
            )
        return tasks[name]
    message = f"'{name}' is no task: {', '.join(tasks)}"
    if data is None:
        raise TaskError(message)
    if not (data / name / "prepare.json").is_file():
        raise TaskError(
            f"{message}; nor is there own text of that name, which prepare_text.sh makes with "
            f"--output {data / name}"
        )
    return read_own(data / name, epochs or OWN_EPOCHS)


def read_own(folder: Path, epochs: int = OWN_EPOCHS) -> Task:
    """The task of the own text in a data directory."""
    path = folder / "prepare.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["kind"] != OWN_TEXT:
            raise ValueError(f"its kind is {found['kind']!r}")
        examples = int(found["subsets"]["train"]["examples"])
        classes, labels, metric = int(found["classes"]), tuple(found["labels"]), found["metric"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TaskError(f"{path}: not what prepare_text.sh writes ({error!r})") from error
    updates = epochs * -(-examples // OWN_BATCH_SIZE)
    return Task(
        name=folder.name,
        classes=classes,
        labels=labels,
        metric=metric,
        lr=OWN_LR,
        batch_size=OWN_BATCH_SIZE,
        total_updates=updates,
        warmup_updates=round(WARMUP * updates),
        # So that an epoch has the updates that were counted, however long its texts are.
        max_tokens=0,
        own_text=True,
    )


def read_sizes(task: str) -> dict[str, int]:
    """The published number of examples of each subset of a task."""
    return {
        row["subset"]: int(row["examples"]) for row in _rows("sizes.tsv") if row["task"] == task
    }


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args()
    try:
        task = read_task(options.task, options.data, options.epochs)
    except TaskError as error:
        print(f"finetune.sh: error: {error}", file=sys.stderr)
        return 1
    print(
        task.classes,
        task.metric,
        task.lr,
        task.batch_size,
        task.total_updates,
        task.warmup_updates,
        task.max_tokens,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
