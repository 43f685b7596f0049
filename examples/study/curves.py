"""curves.png: validation loss of each method over updates and over wall-clock."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from examples.figures import save
from examples.study.merged_tables import Row

# Something that fairseq imports asks for all that there is to log.
logging.getLogger("matplotlib").setLevel(logging.WARNING)

import matplotlib  # noqa: E402

matplotlib.use("Agg")  # files only, so that no display is needed

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

# Colours of Okabe and Ito, told apart with every kind of colour vision; the dashes differ too.
COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#F0E442")
DASHES = ("-", "--", "-.", ":")

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Loss:
    """The column of curves.tsv that is drawn, and what stands beside its axis."""

    column: str
    label: str


PER_TOKEN = Loss("validation nll", "validation nll [bits per token]")


def draw(curves: Sequence[Row], methods: Sequence[str], path: Path, loss: Loss = PER_TOKEN) -> None:
    """A row of panels for each data set; a line is the mean over seeds, its band their range.

    Args:
        curves: rows of curves.tsv.
        methods: those to draw, in this order.
    """
    datasets = list(dict.fromkeys(row["data"] for row in curves if row["method"] in methods))
    figure, panels = new_panels(len(datasets), 2, (11, 3.8 * len(datasets)))
    for (by_updates, by_time), data in zip(panels, datasets):
        for index, method in enumerate(methods):
            rows = [row for row in curves if (row["data"], row["method"]) == (data, method)]
            if rows:
                seeds = _seeds(rows, loss.column)
                _line(by_updates, [_curve(seed, "updates", 1) for seed in seeds], method, index)
                _line(by_time, [_curve(seed, "seconds", 60) for seed in seeds], method, index)
        by_updates.set_xlabel("updates")
        by_time.set_xlabel("minutes of training")
        shown = [row for row in curves if row["data"] == data and row["method"] in methods]
        for axes in (by_updates, by_time):
            _look(axes, [float(row[loss.column]) for row in shown])
            axes.set_ylabel(loss.label)
            axes.set_title(data)
        by_updates.legend(fontsize=8)
    save(figure, path)


def new_panels(
    rows: int, columns: int, size: tuple[float, float]
) -> tuple[Figure, list[list[Axes]]]:
    """A figure, its size in inches, and its panels, row by row."""
    figure, panels = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    return figure, panels.tolist()


def style(index: int) -> dict[str, Any]:
    """Colour and dashes of a method, by its place in the study."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[(index + index // 8) % 4],
    }


def _seeds(rows: Sequence[Row], column: str) -> list[list[Row]]:
    """The rows of each seed, the loss in ``loss``."""
    seeds = dict.fromkeys(row["seed"] for row in rows)
    return [[row | {"loss": row[column]} for row in rows if row["seed"] == seed] for seed in seeds]


def _curve(rows: Sequence[Row], column: str, unit: float) -> Curve:
    points = sorted((float(row[column]) / unit, float(row["loss"])) for row in rows)
    x, y = np.array(points).T
    return x, y


def _line(axes: Axes, curves: Sequence[Curve], label: str, index: int) -> None:
    # The seeds stop at different times: the mean goes as far as the shortest of them.
    end = min(x[-1] for x, _ in curves)
    grid = np.unique(np.concatenate([x[x <= end] for x, _ in curves]))
    values = np.array([np.interp(grid, x, y) for x, y in curves])
    look = style(index)
    axes.plot(grid, values.mean(axis=0), label=f"{label} ({len(curves)})", **look)
    axes.fill_between(grid, values.min(axis=0), values.max(axis=0), color=look["color"], alpha=0.15)


def _look(axes: Axes, losses: Sequence[float]) -> None:
    """The end of the curves is what matters: their first fall is cut off."""
    low, middle = min(losses), sorted(losses)[len(losses) // 2]
    axes.set_ylim(low - 0.05, low + max(0.3, 3 * (middle - low)))
    axes.grid(alpha=0.3)
