"""Prints the demo's table and sample translations, and keeps them in OUTPUT/report.txt.

    report.py OUTPUT

OUTPUT is the folder of run.sh: what it holds of the two systems is compared as it is.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.translation.records.training_log import LogError, TrainingLog, read_log
from scripts.runs.json_objects import DamagedError, read_object

# Folder and name of each system.
SYSTEMS = (("plain", "plain"), ("lrdrop", "LR-Drop"))
SAMPLES = 3


class ReportError(ValueError):
    """A result that is missing or malformed; the message names the file and what to do."""


@dataclass(frozen=True)
class Score:
    """One metric on the test set, with its signature."""

    value: float
    signature: str


@dataclass(frozen=True)
class System:
    """What came out for one system."""

    name: str
    log: TrainingLog
    peak_memory_mib: float
    bleu: Score
    chrf: Score
    translations: list[str]


def read_lines(path: Path) -> list[str]:
    """The lines of a text; ReportError if there is none."""
    if not path.is_file():
        raise ReportError(f"{path} is missing: run run.sh again, it makes what is missing")
    return path.read_text(encoding="utf-8").splitlines()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; ReportError if there is none."""
    if not path.is_file():
        raise ReportError(f"{path} is missing: run run.sh again, it makes what is missing")
    try:
        return read_object(path)
    except DamagedError as error:
        raise ReportError(str(error)) from error


def read_scores(path: Path) -> tuple[Score, Score]:
    """sacreBLEU and chrF from what scripts/evaluate.sh wrote."""
    entries = read_json(path).get("scores")
    found: dict[str, Score] = {}
    for entry in entries if isinstance(entries, list) else []:
        found[entry["title"]] = Score(float(entry["value"]), entry["signature"])
    for title in ("sacreBLEU", "chrF"):
        if title not in found:
            raise ReportError(f"{path}: no {title} among its scores ({', '.join(found) or 'none'})")
    return found["sacreBLEU"], found["chrF"]


def read_system(folder: Path, name: str) -> System:
    """Everything the report says of the system in ``folder``."""
    memory = read_json(folder / "memory.json").get("peak_memory_mib")
    if not isinstance(memory, (int, float)):
        raise ReportError(f"{folder / 'memory.json'}: no peak_memory_mib in it")
    bleu, chrf = read_scores(folder / "test" / "scores.test.json")
    translations = read_lines(folder / "test" / "hyp.test.en")
    return System(name, read_log(folder / "train.log"), memory, bleu, chrf, translations)


def table(systems: list[System]) -> str:
    """The results, a system a line, and the signatures under them."""
    head = (
        "system",
        "sacreBLEU",
        "chrF",
        "parameters",
        "updates",
        "peak memory",
        "training",
    )
    rows = [head] + [
        (
            system.name,
            f"{system.bleu.value:.2f}",
            f"{system.chrf.value:.2f}",
            f"{system.log.parameters:,}",
            f"{system.log.updates:,}",
            f"{system.peak_memory_mib:,.0f} MiB",
            f"{system.log.seconds:,.0f} s",
        )
        for system in systems
    ]
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        )
        for row in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    signatures = {f"sacreBLEU: {s.bleu.signature}": None for s in systems}
    signatures |= {f"chrF: {s.chrf.signature}": None for s in systems}
    notes = [
        "training: with validation, without start-up. peak memory: largest resident set of the "
        "training process.",
    ]
    return "\n".join([*lines, "", *signatures, *notes])


def samples(source: list[str], reference: list[str], systems: list[System]) -> str:
    """Translations of sentences at fixed, evenly spaced places of the test set."""
    for system in systems:
        if not len(source) == len(reference) == len(system.translations):
            raise ReportError(
                f"{len(source)} test sentences, {len(reference)} references, but "
                f"{len(system.translations)} translations of {system.name}: translate again"
            )
    lines = []
    for sample in range(SAMPLES):
        row = (2 * sample + 1) * len(source) // (2 * SAMPLES)
        lines += ["", f"test sentence {row + 1}"]
        named = [("source", source[row]), ("reference", reference[row])]
        named += [(system.name, system.translations[row]) for system in systems]
        lines += [f"  {name:<10} {text}" for name, text in named]
    return "\n".join(lines[1:])


def build(output: Path) -> str:
    """The whole report on the demo in ``output``."""
    systems = [read_system(output / folder, name) for folder, name in SYSTEMS]
    source, reference = (read_lines(output / "corpus" / f"test.{lang}") for lang in ("de", "en"))
    return f"{table(systems)}\n\n{samples(source, reference, systems)}\n"


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    output = Path(arguments[0])
    try:
        text = build(output)
    except (ReportError, LogError, OSError) as error:
        print(f"report.py: error: {error}", file=sys.stderr)
        return 1
    aside = output / "report.txt.part"
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, output / "report.txt")
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
