"""table.md: the methods of each data set beside each other, over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from examples.study.merged_tables import Row
from examples.study.summary import (
    baseline_of,
    by_method,
    mean_difference,
    pairs,
    spread,
    table,
)
from examples.study.translation.rows import PENALTY_1

SAME = ("variant", "updates")  # model, schedule and updates of what is compared
LABELS = {"plain": "plain", "rdrop": "R-Drop"}
SCORES = ("tokenized BLEU", "sacreBLEU", "chrF")


def metric(row: Row) -> str:
    """The metric that a data set is judged by: tokenized BLEU if it came in tokens."""
    return "tokenized BLEU" if row.get("test tokenized BLEU") else "sacreBLEU"


def test_columns(rows: Sequence[Row], score: str = "") -> list[str]:
    """Columns of the test sets that all rows have; of the metric, or of another score."""
    name = score or metric(rows[0])
    columns = [c for c in rows[0] if c.startswith("test") and c.endswith(f" {name}")]
    return [column for column in columns if all(row.get(column) for row in rows)]


def gains(rows: Sequence[Row], baseline: Sequence[Row], score: str = "") -> list[float]:
    """Differences of the mean test score, on the data and seeds that both have."""
    return [
        statistics.fmean(float(row[column]) - float(other[column]) for column in columns)
        for row, other in pairs(rows, baseline)
        if (columns := test_columns([row, other], score))
    ]


def difference(rows: Sequence[Row], baseline: Sequence[Row], score: str = "") -> str:
    """Mean gain over a baseline, and the p of a paired t-test."""
    return "" if rows is baseline else mean_difference(gains(rows, baseline, score))


def methods_table(rows: Sequence[Row], comparisons: Sequence[Row], order: Sequence[str]) -> str:
    """A line for each method of one data set."""
    methods = by_method(rows, order)
    columns = [f"valid {metric(rows[0])}", *test_columns(rows)]
    lines = []
    for method, cells in methods.items():
        line = {"method": method, "seeds": ", ".join(row["seed"] for row in cells)}
        line["valid nll"] = spread([float(row["best validation nll"]) for row in cells], 3)
        if any(row.get("length penalty") for row in rows):
            line["length penalty"] = ", ".join(row.get("length penalty", "") for row in cells)
        for column in columns:
            line[column] = spread([float(row[column]) for row in cells])
        for family, label in LABELS.items():
            baseline = baseline_of(methods, family, cells, *SAME)
            line[f"− {label}"] = difference(cells, baseline)
            line[f"bootstrap p to {label}"] = _bootstrap(comparisons, method, baseline)
        line["updates"] = cells[0]["updates"]
        line["seconds"] = spread([float(row["seconds"]) for row in cells], 0)
        line["s/update"] = spread([float(row["seconds per update"]) for row in cells], 3)
        line["MiB"] = max((row["peak MiB"] for row in cells), key=lambda mib: float(mib or 0))
        lines.append(line)
    return table(lines)


def _bootstrap(comparisons: Sequence[Row], method: str, baseline: Sequence[Row]) -> str:
    """p of BLEU by seed, test sets after each other."""
    found: dict[str, list[str]] = {}
    for row in comparisons:
        if baseline and (row["method"], row["baseline"]) == (method, baseline[0]["method"]):
            found.setdefault(row["seed"], []).append(f"{float(row['p BLEU']):.3f}")
    return "; ".join(f"{seed}: {' '.join(values)}" for seed, values in found.items())


def together_table(results: Sequence[Row], order: Sequence[str]) -> str:
    """Differences over all data sets and seeds, in every score that there is."""
    methods = by_method(results, order)
    lines = []
    for score in (name + suffix for suffix in ("", PENALTY_1) for name in SCORES):
        for method, cells in methods.items():
            scored = sum(bool(test_columns([row], score)) for row in cells)
            if not scored or cells[0]["family"] == "plain":
                continue
            line = {"method": method, "score": score, "trainings": str(scored)}
            for family, label in LABELS.items():
                baseline = baseline_of(methods, family, cells, *SAME)
                line[f"− {label}"] = difference(cells, baseline, score)
            lines.append(line)
    return table(lines)
