"""The text of table.md, from the rows of a study."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from examples.study.merged_tables import Row
from examples.study.translation.equal_time import equal_time_table
from examples.study.translation.summary import methods_table, metric, test_columns, together_table


def report(
    results: Sequence[Row], curves: Sequence[Row], comparisons: Sequence[Row], order: Sequence[str]
) -> str:
    """All tables; ``order`` is that of the study's methods."""
    complete = [row for row in results if not row["stopped"]]
    parts = []
    for data in dict.fromkeys(row["data"] for row in complete):
        rows = [row for row in complete if row["data"] == data]
        tests = [test for test in comparisons if _both_complete(test, rows)]
        parts += [f"## {data}", methods_table(rows, tests, order)]
        parts += ["### At equal wall-clock", equal_time_table(rows, curves, order)]
    if together := together_table(complete, order):
        parts += ["## All trainings together", together]
    early = [row for row in results if row["stopped"]]
    if early:
        parts += ["## Stopped early, in no table", "\n".join(map(_early, early))]
    if not parts:
        return "No cell is complete yet.\n"
    return "\n\n".join([*parts, _notes(results)]) + "\n"


def _both_complete(test: Row, rows: Sequence[Row]) -> bool:
    """Whether a bootstrap test is of two of these trainings, none of which was stopped early."""
    names = {(row["data"], row["method"], row["seed"]) for row in rows}
    return {(test["data"], test[side], test["seed"]) for side in ("method", "baseline")} <= names


def _early(row: Row) -> str:
    scores = ", ".join(f"{column} {row[column]}" for column in test_columns([row]))
    return (
        f"- {row['data']}/{row['method']}-seed{row['seed']}: {row['updates']} updates, "
        f"{row['seconds']} s, validation nll {row['best validation nll']}, {scores}"
    )


def _notes(results: Sequence[Row]) -> str:
    columns = [name for name in results[0] if name.endswith(" signature")]
    signatures = {
        f"{name.removesuffix(' signature')}: `{row[name]}`": None
        for row in results
        for name in columns
        if row.get(name)
    }
    machines = dict.fromkeys(
        f"{row['machine']} (--workers {row['workers']}, {row['date']})" for row in results
    )
    rules = ", ".join(dict.fromkeys(row["checkpoint"] for row in results))
    if any(row.get("length penalty") for row in results):
        rules += (
            "; length penalty, by seed: the one of the study's with the best valid BLEU; where a "
            "score says so, 1"
        )
    notes = textwrap.fill(
        "Mean ± standard deviation over seeds. Valid nll: the lowest, in bits per token, whichever "
        "checkpoint is scored. Differences: of the mean "
        f"{metric(results[0])} over the test sets, to the study's first plain method and its first "
        "R-Drop with the same model and updates; p of a paired t-test over seeds (in the table of "
        "all trainings over data sets and seeds, which are no independent samples of what one may "
        "train on). Bootstrap p: of BLEU, by seed, test set by test set; sacreBLEU's, of one tail: "
        "about half of a two-sided p, and never above some 0.43. Seconds: of the "
        "whole training; s/update: of the updates with terms, validation included. Checkpoint: "
        f"{rules}. At equal wall-clock: the lowest validation loss that plain training or R-Drop "
        "of the same seed and machine had in the seconds that LR-Drop took, and the difference of "
        "the test scores where that training's scored checkpoint was there by then.",
        width=110,
    )
    return "\n".join([notes, "", *signatures, "", "Machines: " + "; ".join(machines)])
