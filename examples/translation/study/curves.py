"""curves.png: validation loss of each method over updates and over wall-clock."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from merged_tables import Row

matplotlib.use("Agg")  # files only, so that no display is needed

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

# Colours of Okabe and Ito, told apart with every kind of colour vision; the dashes differ too.
COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#F0E442")
DASHES = ("-", "--", "-.", ":")


def draw(curves: Sequence[Row], methods: Sequence[str], path: Path) -> None:
    """A row of panels for each data set; a line is the mean over seeds, its band their range.

    Args:
        curves: rows of curves.tsv.
        methods: those to draw, in this order.
    """
    datasets = list(dict.fromkeys(row["data"] for row in curves if row["method"] in methods))
    figure, panels = plt.subplots(
        len(datasets), 2, figsize=(11, 3.8 * len(datasets)), layout="constrained", squeeze=False
    )
    for (by_updates, by_time), data in zip(panels, datasets):
        for index, method in enumerate(methods):
            rows = [row for row in curves if (row["data"], row["method"]) == (data, method)]
            if rows:
                style = {
                    "color": COLOURS[index % len(COLOURS)],
                    "linestyle": DASHES[(index + index // 8) % 4],
                }
                _line(by_updates, rows, "updates", 1, method, style)
                _line(by_time, rows, "seconds", 60, method, style)
        by_updates.set_xlabel("updates")
        by_time.set_xlabel("minutes of training")
        for axes in (by_updates, by_time):
            _look(axes, [row for row in curves if row["data"] == data and row["method"] in methods])
            axes.set_title(data)
        by_updates.legend(fontsize=8)
    aside = path.with_suffix(".part")
    figure.savefig(aside, dpi=150, format="png")
    plt.close(figure)
    os.replace(aside, path)


def _line(
    axes: Axes, rows: Sequence[Row], column: str, unit: float, label: str, style: dict[str, str]
) -> None:
    seeds = dict.fromkeys(row["seed"] for row in rows)
    curves = [_curve([row for row in rows if row["seed"] == seed], column, unit) for seed in seeds]
    # The seeds stop at different times: the mean goes as far as the shortest of them.
    end = min(x[-1] for x, _ in curves)
    grid = np.unique(np.concatenate([x[x <= end] for x, _ in curves]))
    values = np.array([np.interp(grid, x, y) for x, y in curves])
    axes.plot(grid, values.mean(axis=0), label=f"{label} ({len(curves)})", **style)
    axes.fill_between(
        grid, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.15
    )


def _curve(rows: Sequence[Row], column: str, unit: float) -> tuple[np.ndarray, np.ndarray]:
    points = sorted((float(row[column]) / unit, float(row["validation nll"])) for row in rows)
    x, y = np.array(points).T
    return x, y


def _look(axes: Axes, rows: Sequence[Row]) -> None:
    """The end of the curves is what matters: their first fall is cut off."""
    losses = sorted(float(row["validation nll"]) for row in rows)
    low = losses[0]
    axes.set_ylim(low - 0.05, low + max(0.3, 3 * (losses[len(losses) // 2] - low)))
    axes.set_ylabel("validation nll [bits per token]")
    axes.grid(alpha=0.3)
