"""table.md: the methods of each data set beside each other, over seeds."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence

from examples.study.merged_tables import Row
from examples.study.summary import baseline_of, by_method, mean_difference, pairs, spread, table

SCORE = " perplexity per "
BY_WORD = f"{SCORE}word"


def report(
    results: Sequence[Row], curves: Sequence[Row], comparisons: Sequence[Row], order: Sequence[str]
) -> str:
    """All tables; ``order`` is that of the study's methods."""
    complete = [row for row in results if not row["stopped"]]
    parts = []
    for data in dict.fromkeys(row["data"] for row in complete):
        rows = [row for row in complete if row["data"] == data]
        parts += [f"## {data}", methods_table(rows, order)]
    early = [row for row in results if row["stopped"]]
    if early:
        parts += ["## Stopped early, in no table", "\n".join(map(_early, early))]
    if not parts:
        return "No cell is complete yet.\n"
    return "\n\n".join([*parts, _notes(results)]) + "\n"


def methods_table(rows: Sequence[Row], order: Sequence[str]) -> str:
    """A line for each method of one data set."""
    methods = by_method(rows, order)
    scores = [name for name in rows[0] if SCORE in name and all(row.get(name) for row in rows)]
    lines = []
    for method, cells in methods.items():
        line = {"method": method, "seeds": ", ".join(row["seed"] for row in cells)}
        line["valid nll"] = spread([float(row["best validation nll"]) for row in cells], 3)
        for name in scores:
            line[name.replace(SCORE, " ppl/")] = spread([float(row[name]) for row in cells])
        for name, others in methods.items():
            if others[0]["family"] == "plain":
                line[f"− {name}"] = mean_difference(gains(cells, others))
        rdrop = baseline_of(methods, "rdrop", cells, "variant")
        line["− R-Drop"] = mean_difference(gains(cells, rdrop))
        line["best at"] = spread([float(row["best at"]) for row in cells], 0)
        line["updates"] = cells[0]["updates"]
        line["seconds"] = spread([float(row["seconds"]) for row in cells], 0)
        line["s/update"] = spread([float(row["seconds per update"]) for row in cells], 3)
        line["MiB"] = max((row["peak MiB"] for row in cells), key=lambda mib: float(mib or 0))
        lines.append(line)
    return table(lines)


def gains(rows: Sequence[Row], baseline: Sequence[Row]) -> list[float]:
    """Differences of the test perplexity per word, the mean over test sets; below 0 is better.

    On the data and seeds that both have; none to itself, or to another model.
    """
    if rows is baseline or not baseline or rows[0]["variant"] != baseline[0]["variant"]:
        return []
    return [
        statistics.fmean(float(row[name]) - float(other[name]) for name in names)
        for row, other in pairs(rows, baseline)
        if (names := _test_columns(row, other))
    ]


def _test_columns(*rows: Row) -> list[str]:
    """The columns of the test sets' perplexities that all rows have."""
    names = [name for name in rows[0] if name.startswith("test") and name.endswith(BY_WORD)]
    return [name for name in names if all(row.get(name) for row in rows)]


def _early(row: Row) -> str:
    scores = ", ".join(f"{name} {row[name]}" for name in _test_columns(row))
    return (
        f"- {row['data']}/{row['method']}-seed{row['seed']}: {row['updates']} updates, "
        f"{row['seconds']} s, validation nll {row['best validation nll']}, {scores}"
    )


def _notes(results: Sequence[Row]) -> str:
    machines = dict.fromkeys(
        f"{row['machine']}, {row['versions']} (--workers {row['workers']}, {row['date']})"
        for row in results
    )
    rules = ", ".join(dict.fromkeys(row["checkpoint"] for row in results))
    notes = textwrap.fill(
        "Mean ± standard deviation over seeds. Ppl: perplexity per piece and per word, in which "
        "the end of a line counts as one; lower is better. Valid nll: the lowest, in bits per "
        "piece, and where it was (best at, in updates). Differences: of the test perplexity per "
        "word, the mean over the test sets, to each plain method and the first R-Drop "
        "with the same model; p of a paired t-test over seeds. Seconds: of the whole training; "
        f"s/update: of the updates with terms, validation included. Checkpoint: {rules}.",
        width=110,
    )
    return "\n".join([notes, "", "Machines: " + "; ".join(machines)])
