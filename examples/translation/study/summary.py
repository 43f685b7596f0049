"""table.md: the methods of each data set beside each other, over seeds and at equal wall-clock."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from merged_tables import Row
from scipy import stats
from tabulate import tabulate

FAMILIES = ("plain", "rdrop", "lrdrop")


def summarize(results: Sequence[Row], comparisons: Sequence[Row]) -> str:
    """The whole of table.md, from the rows of results.tsv and comparisons.tsv."""
    if not results:
        return "No cell is complete yet.\n"
    parts = []
    for data in dict.fromkeys(row["data"] for row in results):
        rows = [row for row in results if row["data"] == data]
        tests = [row for row in comparisons if row["data"] == data]
        parts += [f"## {data}", _methods(rows, tests), "### At equal wall-clock", _clock(rows)]
    if len(parts) > 4:
        parts += ["## All data sets together", _together(results)]
    parts.append(_notes(results))
    return "\n\n".join(parts) + "\n"


def metric(row: Row) -> str:
    """The metric that a data set is judged by: tokenized BLEU if it came in tokens."""
    return "tokenized BLEU" if row.get("test tokenized BLEU") else "sacreBLEU"


def test_columns(rows: Sequence[Row], name: str) -> list[str]:
    """Columns of the test sets' scores in one metric, the validation set left out."""
    columns = [c for c in rows[0] if c.startswith("test") and c.endswith(f" {name}")]
    return [column for column in columns if any(row[column] for row in rows)]


def mean_score(row: Row) -> float:
    """Mean over the test sets."""
    return statistics.fmean(float(row[c]) for c in test_columns([row], metric(row)))


def by_method(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows of each method, plain ones first, then R-Drop's, then LR-Drop's."""
    ordered = sorted(rows, key=lambda row: FAMILIES.index(row["family"]))
    return {name: [r for r in ordered if r["method"] == name]
            for name in dict.fromkeys(row["method"] for row in ordered)}  # fmt: skip


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean ± standard deviation over seeds."""
    text = f"{statistics.fmean(values):.{digits}f}"
    return f"{text} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else text


def difference(rows: Sequence[Row], baseline: Sequence[Row]) -> str:
    """Mean difference of the test score on the seeds that both have, and a paired t-test's p."""
    theirs = {(row["data"], row["seed"]): mean_score(row) for row in baseline}
    pairs = [(mean_score(row), theirs[row["data"], row["seed"]]) for row in rows
             if (row["data"], row["seed"]) in theirs]  # fmt: skip
    if not pairs or rows == baseline:
        return ""
    text = f"{statistics.fmean(ours - other for ours, other in pairs):+.2f}"
    if len(pairs) > 1:
        p = stats.ttest_rel(*zip(*pairs)).pvalue
        text += f" (p {p:.3f}, n {len(pairs)})"
    return text


def _methods(rows: Sequence[Row], comparisons: Sequence[Row]) -> str:
    name = metric(rows[0])
    methods = by_method(rows)
    lines = []
    for method, cells in methods.items():
        line = {
            "method": method,
            "seeds": ", ".join(r["seed"] + "*" * bool(r["stopped"]) for r in cells),
        }
        line["valid nll"] = spread([float(r["best validation nll"]) for r in cells], 3)
        for column in [f"valid {name}", *test_columns(rows, name)]:
            line[column] = spread([float(row[column]) for row in cells if row[column]])
        for family, label in (("plain", "plain"), ("rdrop", "R-Drop")):
            baseline = _baseline(methods, family, cells)
            line[f"− {label}"] = difference(cells, baseline)
            line[f"bootstrap p to {label}"] = _bootstrap(comparisons, method, baseline)
        line["seconds"] = spread([float(row["seconds"]) for row in cells], 0)
        line["s/update"] = spread([float(row["seconds per update"]) for row in cells], 3)
        line["MiB"] = max(
            (row["peak MiB"] for row in cells if row["peak MiB"]), key=float, default=""
        )
        lines.append(line)
    return tabulate(lines, headers="keys", tablefmt="github", disable_numparse=True)


def _baseline(methods: dict[str, list[Row]], family: str, cells: Sequence[Row]) -> list[Row]:
    """The first method of a family with the same model and schedule; none if there is none."""
    found = (
        others
        for others in methods.values()
        if (others[0]["family"], others[0]["variant"]) == (family, cells[0]["variant"])
    )
    return next(found, [])


def _bootstrap(comparisons: Sequence[Row], method: str, baseline: Sequence[Row]) -> str:
    """p of BLEU of each seed, test sets after each other."""
    found: dict[str, list[str]] = {}
    for row in comparisons:
        if baseline and (row["method"], row["baseline"]) == (method, baseline[0]["method"]):
            found.setdefault(row["seed"], []).append(f"{float(row['p BLEU']):.3f}")
    return "; ".join(" ".join(values) for values in found.values())


def _clock(rows: Sequence[Row]) -> str:
    """LR-Drop beside the best plain and R-Drop checkpoints that were there when it had finished."""
    lines = []
    for method, cells in by_method(rows).items():
        if cells[0]["family"] != "lrdrop":
            continue
        line = {"method": method, "seconds": spread([float(row["seconds"]) for row in cells], 0)}
        for family, label in (("plain", "plain"), ("rdrop", "R-Drop")):
            found = [(cell, best) for cell in cells if (best := _best_in_time(rows, cell, family))]
            if found:
                ours, theirs = zip(*found)
                line[label] = ", ".join(dict.fromkeys(row["method"] for row in theirs))
                line[f"its seconds ({label})"] = spread(
                    [float(r["checkpoint seconds"]) for r in theirs], 0
                )
                line[f"LR-Drop − {label}"] = spread(
                    [mean_score(a) - mean_score(b) for a, b in found]
                )
        lines.append(line)
    if not lines:
        return "No LR-Drop cell is complete yet."
    return tabulate(lines, headers="keys", tablefmt="github", disable_numparse=True)


def _best_in_time(rows: Sequence[Row], cell: Row, family: str) -> Row | None:
    """Of a family's cells with the same seed: the best by validation loss, reached in the time."""
    limit = float(cell["seconds"])
    wanted = (family, cell["variant"], cell["seed"])
    found = [row for row in rows if (row["family"], row["variant"], row["seed"]) == wanted
             and float(row["checkpoint seconds"]) <= limit]  # fmt: skip
    return min(found, key=lambda row: float(row["best validation nll"]), default=None)


def _together(results: Sequence[Row]) -> str:
    """Differences over all data sets and seeds."""
    methods = by_method(results)
    lines = [
        {
            "method": method,
            "trainings": str(len(cells)),
            "mean test score": f"{statistics.fmean(mean_score(row) for row in cells):.2f}",
            "− plain": difference(cells, _baseline(methods, "plain", cells)),
            "− R-Drop": difference(cells, _baseline(methods, "rdrop", cells)),
        }
        for method, cells in methods.items()
    ]
    return tabulate(lines, headers="keys", tablefmt="github", disable_numparse=True)


def _notes(results: Sequence[Row]) -> str:
    columns = [name for name in results[0] if name.endswith(" signature")]
    signatures = {
        f"{name.removesuffix(' signature')}: `{row[name]}`": None
        for row in results
        for name in columns
        if row[name]
    }
    machines = dict.fromkeys(f"{r['machine']} ({r['workers']} side by side)" for r in results)
    notes = [
        "Mean ± standard deviation over seeds; the differences are of the mean over the test sets,",
        "their p from a paired t-test over seeds; bootstrap p: of BLEU, test set by test set, seed",
        "by seed. An asterisk marks a training that was stopped early. Checkpoint: "
        + ", ".join(dict.fromkeys(row["checkpoint"] for row in results)) + ".",
        "At equal wall-clock: the best checkpoint by validation loss that plain training or R-Drop",
        "had reached in the seconds that LR-Drop took, of the same seed.",
        "", *signatures, "", "Machines: " + "; ".join(machines),
    ]  # fmt: skip
    return "\n".join(notes)
