"""Scores a fine-tuned cell on its validation and test set, in one process.

    score.py DATA FOLDER OUT --metric accuracy|mcc

DATA and FOLDER are those of finetune.sh. FOLDER/seedN gets what evaluate.py writes there; OUT gets
the scores of both, by subset. It stands for two calls of evaluate.py, each of which takes longer to
start than to score.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import logging
import sys
from pathlib import Path

from examples.language_understanding.evaluate import seed_folders
from examples.language_understanding.predict_subset import evaluate_seed
from examples.language_understanding.run_record import read_record
from examples.language_understanding.sentence_tasks import TaskError, read_task
from examples.language_understanding.task_metrics import scores
from scripts.runs.complete_files import write

SUBSETS = ("valid", "test")


def score(folder: Path, data: Path, subset: str, metrics: list[str]) -> dict[str, float | None]:
    """The metrics of one subset, in percent."""
    print(evaluate_seed(folder, data, subset, force=False), flush=True)
    with (folder / f"predictions.{subset}.tsv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    columns = [[row[name] for row in rows] for name in ("prediction", "label")]
    task = read_task(read_record(folder)["task"], data)
    found: dict[str, float | None] = {}
    for metric in metrics:
        found |= scores(dataclasses.replace(task, metric=metric), *columns)
    return found


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="examples.study.sentences.score", description=__doc__)
    for name in ("data", "folder", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--metric", choices=("accuracy", "mcc"), required=True)
    options = parser.parse_args()
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    metrics = list(dict.fromkeys(("accuracy", options.metric)))
    try:
        (folder,) = seed_folders(options.folder)
        found = {subset: score(folder, options.data, subset, metrics) for subset in SUBSETS}
        reached = read_record(folder)["best_update"]
    except (TaskError, OSError) as error:
        print(f"score.py: error: {error}", file=sys.stderr)
        return 1
    text = json.dumps({"checkpoint updates": reached, "scores": found}, indent=2)
    write(options.out, f"{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
