"""What the tables over seeds are made of."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from scipy import stats
from tabulate import tabulate

from examples.study.merged_tables import Row


def by_method(rows: Sequence[Row], order: Sequence[str]) -> dict[str, list[Row]]:
    """Rows of each method, in the study's order."""
    return {m: found for m in order if (found := [row for row in rows if row["method"] == m])}


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean ± standard deviation over seeds."""
    if not values:
        return ""
    text = f"{statistics.fmean(values):.{digits}f}"
    return f"{text} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else text


def pairs(rows: Sequence[Row], baseline: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Each row with that of the baseline, on the data and seeds that both have."""
    theirs = {(row["data"], row["seed"]): row for row in baseline}
    return [(row, other) for row in rows if (other := theirs.get((row["data"], row["seed"])))]


def baseline_of(
    methods: dict[str, list[Row]], family: str, cells: Sequence[Row], *same: str
) -> list[Row]:
    """The first method of a family that agrees with the cells in these columns; [] without one."""
    for others in methods.values():
        if others[0]["family"] == family and all(others[0][n] == cells[0][n] for n in same):
            return others
    return []


def baselines(methods: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """What the others are compared with: each plain method, and the first R-Drop."""
    plain, rdrop = (
        {m: rows for m, rows in methods.items() if rows[0]["family"] == family}
        for family in ("plain", "rdrop")
    )
    return plain | dict(list(rdrop.items())[:1])


def mean_difference(found: Sequence[float]) -> str:
    """The mean of paired differences, and the p of a t-test; empty without any."""
    if not found:
        return ""
    text = f"{statistics.fmean(found):+.2f}"
    if len(found) > 1 and len(set(found)) > 1:
        p = stats.ttest_1samp(found, 0.0).pvalue
        text += f" (p {'< 0.001' if p < 0.0005 else f'{p:.3f}'}, n {len(found)})"
    return text


def table(lines: Sequence[Row]) -> str:
    """A table in Markdown; every line has the same columns."""
    text: str = tabulate(lines, headers="keys", tablefmt="github", disable_numparse=True)
    return text
