"""What on_gpu.sh has found, in three short tables.

    python -m benchmarks.gpu_summary DIR

Of a run that was cut short, or is still going on, what there is.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter
from pathlib import Path

from benchmarks.tables import print_lines

# The criterion's default of --lr-drop-start; to import it takes longer than all else here.
START = 0.67

Lines = list[dict[str, str]]
# A line of pytest -v: the test's name, how it went, and how far that is.
_OUTCOMES = ("PASSED", "FAILED", "ERROR", "SKIPPED")
_TEST = re.compile(rf"^\S+::.* ({'|'.join(_OUTCOMES)})( |$)", re.MULTILINE)


def main() -> int:
    """The command line; returns the exit status."""
    if len(sys.argv) != 2 or not Path(sys.argv[1], "parts.tsv").is_file():
        print("usage: python -m benchmarks.gpu_summary DIR (of on_gpu.sh)", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    deviations = _deviations(_read(folder / "precisions.csv"))
    ratios = _ratios(_read(folder / "steps.csv"))
    for title, lines in (
        ("Largest relative deviation from the plain losses (terms; gradient)", deviations),
        ("Updates of LR-Drop (R4) beside the others", ratios),
        ("Parts", _parts(folder)),
    ):
        if lines:
            print(f"\n{title}")
            print_lines(lines)
    return 0


def _read(path: Path) -> Lines:
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _deviations(rows: Lines) -> Lines:
    """A line per architecture, a column per precision; what is wrong in place of the numbers."""
    lines: dict[str, dict[str, str]] = {}
    for row in rows:
        cell = row["status"]
        if row.get("gradient_deviation"):
            numbers = f"{_largest_of_terms(row):.0e}; {float(row['gradient_deviation']):.0e}"
            cell = numbers if cell == "ok" else f"{cell}: {numbers}"
        if row.get("overflows", "") not in ("", "0"):
            cell += f" (overflows: {row['overflows']})"
        name = row["architecture"]
        lines.setdefault(name, {"architecture": name})[row["precision"]] = cell
    return list(lines.values())


def _largest_of_terms(row: dict[str, str]) -> float:
    terms = [key for key in row if key.endswith("_deviation") and key != "gradient_deviation"]
    return max(float(row[key]) for key in terms)


def _ratios(rows: Lines) -> Lines:
    """A line per shape and precision."""
    groups: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for row in rows:
        groups.setdefault((row["shape"], row["precision"]), {})[row["step"]] = row
    return [
        {
            "shape": shape,
            "precision": precision,
            "R4 s": _number(steps, "seconds", 1.0, 4),
            "training/R0 time": _training(steps),
            "R4/R0 time": _ratio(steps, "R0", "seconds"),
            "R4/R1f time": _ratio(steps, "R1f", "seconds"),
            "R4/R2 time": _ratio(steps, "R2", "seconds"),
            "R4 GiB": _number(steps, "peak_bytes", 2.0**30, 2),
            "R4/R2 memory": _ratio(steps, "R2", "peak_bytes"),
        }
        for (shape, precision), steps in groups.items()
    ]


def _number(steps: dict[str, dict[str, str]], key: str, unit: float, decimals: int) -> str:
    """Of R4; what went wrong, or nothing, where it has no number."""
    row = steps.get("R4", {})
    return f"{float(row[key]) / unit:.{decimals}f}" if row.get(key) else row.get("status", "")


def _ratio(steps: dict[str, dict[str, str]], base: str, key: str) -> str:
    """Of R4 over another step; what went wrong with that, or nothing."""
    ours, other = (steps.get(step, {}) for step in ("R4", base))
    if ours.get(key) and other.get(key):
        return f"{float(ours[key]) / float(other[key]):.2f}"
    return "" if other.get(key) or not other else f"{base}: {other['status']}"


def _training(steps: dict[str, dict[str, str]]) -> str:
    """Of a whole training whose terms begin at ``START``, over plain training; or nothing."""
    found = [steps.get(step, {}).get("seconds") for step in ("R0", "R0f", "R4")]
    if not all(found):
        return ""
    plain, before, after = map(float, found)  # type: ignore[arg-type]
    return f"{(START * before + (1 - START) * after) / plain:.2f}"


def _parts(folder: Path) -> Lines:
    lines = []
    for text in (folder / "parts.tsv").read_text().splitlines():
        part, status, seconds = text.split("\t")
        line = {"part": part, "status": status, "seconds": seconds}
        lines.append(line | {"": _key_figures(folder, part)})
    return lines


def _key_figures(folder: Path, part: str) -> str:
    if part == "machine":
        path = folder / "machine.json"
        found = json.loads(path.read_text()) if path.is_file() else {}
        keys = ("GPU", "driver", "CUDA", "torch")
        return ", ".join(f"{key} {found[key]}" for key in keys if key in found)
    if part == "tests":
        log = folder / "tests.log"
        counts = Counter(
            match[1] for match in _TEST.finditer(log.read_text() if log.is_file() else "")
        )
        return ", ".join(f"{counts[key]} {key.lower()}" for key in _OUTCOMES)
    rows = _read(folder / f"{part}.csv")
    return _longest(rows) if part == "attention" else _statuses(rows)


def _statuses(rows: Lines) -> str:
    counts = Counter(row["status"] for row in rows)
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def _longest(rows: Lines) -> str:
    """Blockwise over dense, at the greatest length that has both."""
    forms: dict[str, dict[str, dict[str, str]]] = {}
    for row in rows:
        if row["status"] == "ok":
            forms.setdefault(row["length"], {})[row["form"]] = row
    both = [(int(length), found) for length, found in forms.items() if len(found) == 2]
    if not both:
        return _statuses(rows)
    length, found = max(both, key=lambda item: item[0])
    time, memory = (
        float(found["blockwise"][key]) / float(found["dense"][key])
        for key in ("seconds", "peak_bytes")
    )
    return f"blockwise/dense at T = {length}: time {time:.2f}, memory {memory:.2f}"


if __name__ == "__main__":
    sys.exit(main())
