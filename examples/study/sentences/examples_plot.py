"""examples.png: the test score over the number of examples, a panel for each set."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from examples.figures import save
from examples.study.curves import new_panels, style
from examples.study.merged_tables import Row
from examples.study.sentences.report import metric, score


def draw(results: Sequence[Row], methods: Sequence[str], path: Path) -> None:
    """Draw the sets that come with more than one number of examples; nothing if none does."""
    sizes: dict[str, set[int]] = {}
    for row in results:
        sizes.setdefault(row["set"], set()).add(int(row["examples"]))
    sets = [name for name, found in sizes.items() if len(found) > 1]
    if not sets:
        return
    figure, panels = new_panels(1, len(sets), (5.5 * len(sets), 4))
    for axes, name in zip(panels[0], sets):
        rows = [row for row in results if row["set"] == name]
        for index, method in enumerate(methods):
            _line(axes, [row for row in rows if row["method"] == method], method, index)
        axes.set_xscale("log")
        axes.set_xticks(sorted(sizes[name]), [str(size) for size in sorted(sizes[name])])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("examples")
        axes.set_ylabel(f"test {metric(rows[0])} [%]")
        axes.set_title(name)
        axes.grid(alpha=0.3)
    panels[0][0].legend(fontsize=8)
    save(figure, path)


def _line(axes: Axes, rows: Sequence[Row], method: str, index: int) -> None:
    """Mean over seeds, ± standard deviation where there are several."""
    scores: dict[int, list[float]] = {}
    for row in rows:
        scores.setdefault(int(row["examples"]), []).append(score(row))
    if not scores:
        return
    x = sorted(scores)
    y = [statistics.fmean(scores[size]) for size in x]
    spread = [statistics.stdev(scores[size]) if len(scores[size]) > 1 else 0.0 for size in x]
    # A little aside of each other, so that the bars can be told apart.
    places = [size * (1 + 0.015 * index) for size in x]
    axes.errorbar(places, y, spread, label=method, marker=".", capsize=2, **style(index))
