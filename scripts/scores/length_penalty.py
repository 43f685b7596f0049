"""The best of several length penalties by their scores. Used by length_penalty.sh."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from tabulate import tabulate

from scripts.runs.complete_files import say, write

NAME = "length_penalty.json"


def choose(folder: Path, penalties: list[str]) -> None:
    """Print and keep, in NAME, the penalty with the best BLEU, of equal ones the first.

    BLEU is the first of evaluate.sh's scores, by which a data set is judged.
    """
    found = {p: _scores(folder / p) for p in penalties}
    bleu = {p: scores[0]["value"] for p, scores in found.items()}
    best = max(penalties, key=lambda p: bleu[p])
    title, signature = (found[best][0][key] for key in ("title", "signature"))
    result = {"best": best, "metric": title, "signature": signature, "scores": bleu}
    write(folder / NAME, json.dumps(result, indent=2) + "\n")
    rows = [
        [f"{p}  <- best" if p == best else p, f"{bleu[p]:.2f}", _brevity(scores[0]["details"])]
        for p, scores in found.items()
    ]
    header = ["length penalty", f"{title}, validation set", "brevity penalty"]
    say(tabulate(rows, header, disable_numparse=True))
    say(f"\n{signature}\nfor evaluate.sh: -- --lenpen {best}")


def _scores(folder: Path) -> list[dict[str, Any]]:
    result: dict[str, Any] = json.loads((folder / "scores.valid.json").read_text(encoding="utf-8"))
    scores: list[dict[str, Any]] = result["scores"]
    return scores


def _brevity(details: str) -> str:
    found = re.search(r"BP = ([\d.]+)", details)
    return found[1] if found else ""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("penalties", nargs="+")
    options = parser.parse_args()
    choose(options.folder, options.penalties)


if __name__ == "__main__":
    main()
