#!/usr/bin/env python
"""Scores what finetune.sh made, and sums the seeds up.

    evaluate.py score DATA DIR... [--subset valid] [--force]
    evaluate.py summarize DIR... --output DIR

``score`` runs the best checkpoint of each DIR/seedN on a subset of DATA/TASK and writes, beside the
checkpoint, predictions.SUBSET.tsv and scores.SUBSET.json.  The metrics are computed from the
predictions by scikit-learn and SciPy.  Without --subset that is valid, and valid1 for MNLI (its
mismatched set).  GLUE's test and test1 give predictions alone; own text has labels in test too.

``summarize`` takes all scores under the folders and writes summary.tsv and seeds.png: median,
extremes and quartiles over seeds for each task and method.  Without matplotlib it leaves out the
plot.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a command may be given anywhere
from examples.language_understanding.run_record import read_record
from examples.language_understanding.sentence_tasks import TaskError
from scripts.runs.complete_files import write


def seed_folders(folder: Path) -> list[Path]:
    """DIR/seedN in the order of N; TaskError if there are none."""
    found = [path for path in folder.glob("seed*") if path.name[4:].isdigit()]
    if not found:
        raise TaskError(f"{folder}: no seedN in it; it is the --save-dir of finetune.sh")
    return sorted(found, key=lambda path: int(path.name[4:]))


def run_score(options: argparse.Namespace) -> None:
    """Score the finished seeds; TaskError at the end if others are not finished."""
    from examples.language_understanding.predict_subset import evaluate_seed

    logging.getLogger("fairseq").setLevel(logging.WARNING)
    unfinished = []
    for folder in (seed for save_dir in options.folders for seed in seed_folders(save_dir)):
        record = read_record(folder)
        if not record["finished"]:
            unfinished.append(str(folder))
            continue
        subsets = [options.subset] if options.subset else ["valid"]
        if record["task"] == "MNLI" and not options.subset:
            subsets.append("valid1")
        for subset in subsets:
            said = evaluate_seed(folder, options.data, subset, options.force)
            print(f"{record['task']}, {record['method']}, {said}", flush=True)
    if unfinished:
        raise TaskError(
            f"not finished: {', '.join(unfinished)}; give the command of finetune.sh again. "
            "The others are scored"
        )


def run_summarize(options: argparse.Namespace) -> None:
    """Print the table; write it, and the plot where there is matplotlib: otherwise say so."""
    from examples.language_understanding.seed_summary import as_text, as_tsv, read_scores, rows

    grouped = read_scores(options.folders)
    table = rows(grouped)
    options.output.mkdir(parents=True, exist_ok=True)
    write(options.output / "summary.tsv", as_tsv(table))
    print(as_text(table))
    try:
        from examples.figures import save
        from examples.language_understanding.seed_plot import draw
    except ModuleNotFoundError as error:
        print(f"no seeds.png: {error}; scripts/install.sh --plots installs it", file=sys.stderr)
        return
    save(draw(grouped), options.output / "seeds.png")


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    score = commands.add_parser("score", help="predictions and scores of every seed")
    score.add_argument("data", type=Path, help="what finetune.sh had as DATA")
    score.add_argument("folders", type=Path, nargs="+", help="the --save-dir of finetune.sh")
    score.add_argument("--subset")
    score.add_argument("--force", action="store_true", help="score again what is scored")
    summarize = commands.add_parser("summarize", help="table and plot over seeds")
    summarize.add_argument("folders", type=Path, nargs="+", help="folders with scores below them")
    summarize.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    # A reader who has seen enough, such as head, is no error.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        if options.command == "score":
            run_score(options)
        else:
            run_summarize(options)
    except (TaskError, OSError) as error:
        print(f"evaluate.py: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
