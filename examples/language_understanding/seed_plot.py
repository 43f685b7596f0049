"""Draws every seed of every method, a panel a task: what a median alone would hide."""

from __future__ import annotations

import matplotlib

from examples.language_understanding.seed_summary import Group, Grouped, titles

matplotlib.use("Agg")  # files only, so that no display is needed

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

# Colours of Okabe and Ito, told apart with every kind of colour vision.
COLOURS = {"plain": "#0072B2", "rdrop": "#009E73", "lrdrop": "#D55E00"}
NAMES = {"plain": "plain", "rdrop": "R-Drop", "lrdrop": "LR-Drop"}
COLUMNS = 4


def metric_of(grouped: Grouped) -> str:
    """What chose the checkpoints: the first score of every seed."""
    return next(name for seeds in grouped.values() for seed in seeds.values() for name in seed)


def draw_panel(axes: Axes, grouped: Grouped) -> None:
    """The seeds of one task and subset as dots, their median as a line."""
    names, metric = titles(grouped), metric_of(grouped)
    labels = []
    for place, (group, seeds) in enumerate(grouped.items()):
        values = sorted(value for seed in seeds.values() if (value := seed[metric]) is not None)
        # Spread sideways, so that equal seeds do not hide one another.
        offsets = [0.3 * ((i + 0.5) / len(values) - 0.5) for i in range(len(values))]
        colour = COLOURS[group.method]
        axes.plot([place + x for x in offsets], values, "o", color=colour, alpha=0.7, markersize=6)
        if values:
            middle = len(values) // 2
            median = (values[middle] + values[-middle - 1]) / 2
            axes.plot([place - 0.28, place + 0.28], [median, median], "-", color=colour, lw=2)
        label = names[group].replace(group.method, NAMES[group.method], 1)
        labels.append(f"{label}\n{group.arch.removeprefix('lr_drop_')}\n{len(seeds)} seeds")
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.grid(axis="y", alpha=0.3)


def draw(grouped: Grouped) -> Figure:
    """All panels."""
    panels: dict[tuple[str, str], dict[Group, dict[int, dict[str, float | None]]]] = {}
    for group, seeds in grouped.items():
        panels.setdefault((group.task, group.subset), {})[group] = seeds
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(3.2 * columns, 3.2 * lines), layout="constrained", squeeze=False
    )
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, ((task, subset), members) in zip(grid.flat, panels.items()):
        draw_panel(axes, members)
        axes.set_title(f"{task}, {subset}", fontsize=10)
        axes.set_ylabel(f"{metric_of(members).replace('_', ' ')} [%]", fontsize=9)
    figure.suptitle("Each dot a seed, the line their median", fontsize=11)
    return figure
