"""table.md: the methods beside each other, set by set and over all of them."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence

from examples.study.merged_tables import Row
from examples.study.sentences.rows import LOSS
from examples.study.summary import baselines, by_method, mean_difference, pairs, spread, table


def metric(row: Row) -> str:
    """What a set is judged by."""
    return "mcc" if row.get("test mcc") else "accuracy"


def score(row: Row, subset: str = "test") -> float:
    """The score of a row by the metric of its set, in percent."""
    return float(row[f"{subset} {metric(row)}"])


def report(
    results: Sequence[Row], curves: Sequence[Row], comparisons: Sequence[Row], order: Sequence[str]
) -> str:
    """All tables; ``order`` is that of the study's methods."""
    complete = [row for row in results if not row["stopped"]]
    if not complete:
        return "No cell is complete yet.\n"
    parts = []
    for data in dict.fromkeys(row["data"] for row in complete):
        rows = [row for row in complete if row["data"] == data]
        parts += [f"## {data}", methods_table(rows, order)]
    parts += ["## All data sets together", together_table(complete, order)]
    return "\n\n".join([*parts, _notes(complete)]) + "\n"


def pretrained(methods: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Those methods that go on from the pretrained encoder, with which the others are compared."""
    return {m: rows for m, rows in methods.items() if "from scratch" not in rows[0]["variant"]}


def methods_table(rows: Sequence[Row], order: Sequence[str]) -> str:
    """A line for each method of one data set."""
    methods = by_method(rows, order)
    lines = []
    for method, cells in methods.items():
        line = {"method": method, "seeds": str(len(cells))}
        line["valid loss"] = spread([float(row[f"best {LOSS}"]) for row in cells], 3)
        for subset in ("valid", "test"):
            line[f"{subset} {metric(rows[0])}"] = spread([score(row, subset) for row in cells])
        for name, baseline in baselines(pretrained(methods)).items():
            line[f"− {name}"] = mean_difference(gains(cells, baseline))
        line["updates"] = cells[0]["updates"]
        line["seconds"] = spread([float(row["seconds"]) for row in cells], 0)
        line["s/update"] = spread([float(row["seconds per update"]) for row in cells], 3)
        lines.append(line)
    return table(lines)


def gains(rows: Sequence[Row], baseline: Sequence[Row]) -> list[float]:
    """Differences of the test score, on the data and seeds that both have; none to itself."""
    if rows[0]["method"] == baseline[0]["method"]:
        return []
    return [score(row) - score(other) for row, other in pairs(rows, baseline)]


def together_table(rows: Sequence[Row], order: Sequence[str]) -> str:
    """Differences over all data sets and seeds, and on how many sets there is a gain or a loss."""
    methods = by_method(rows, order)
    lines = []
    for method, cells in methods.items():
        line = {"method": method, "trainings": str(len(cells))}
        for subset in ("valid", "test"):
            line[f"mean {subset}"] = f"{statistics.fmean(score(row, subset) for row in cells):.2f}"
        for name, baseline in baselines(pretrained(methods)).items():
            line[f"− {name}"] = mean_difference(gains(cells, baseline))
            line[f"better/worse than {name}"] = _better_and_worse(cells, baseline)
        lines.append(line)
    return table(lines)


def _better_and_worse(cells: Sequence[Row], baseline: Sequence[Row]) -> str:
    means = []
    for data in dict.fromkeys(row["data"] for row in cells):
        found = gains([row for row in cells if row["data"] == data], baseline)
        means += [statistics.fmean(found)] if found else []
    if not means:
        return ""
    return f"{sum(mean > 0 for mean in means)}/{sum(mean < 0 for mean in means)} of {len(means)}"


def _notes(rows: Sequence[Row]) -> str:
    machines = dict.fromkeys(
        f"{row['machine']} (--workers {row['workers']}, {row['date']})" for row in rows
    )
    notes = textwrap.fill(
        "Mean ± standard deviation over seeds, each of which draws its own examples. Scores in "
        "percent: accuracy, or mcc, Matthews' correlation. Differences: of the test score, on the "
        "data sets and seeds that both methods have; p of a paired t-test over seeds, in the table "
        "of all data sets over data sets and seeds, which are no independent samples of what one "
        "may train on. Better/worse: on how many data sets the mean difference is above and below "
        "0. Valid loss: the lowest, in bits per sentence; the scored checkpoint is the one with "
        "the best score on the validation set. Seconds: of the whole training, validation and "
        "checkpoints included; s/update: of the updates with terms.",
        width=110,
    )
    return "\n".join([notes, "", "Machines: " + "; ".join(machines)])
