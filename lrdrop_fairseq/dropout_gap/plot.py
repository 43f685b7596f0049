"""Draws the dropout gap: a panel for the hidden states, the attention and the output each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

from lrdrop_fairseq.dropout_gap.measure import Gap, Place, places_of

matplotlib.use("Agg")  # files only, so that no display is needed

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

# Colours of Okabe and Ito, told apart with every kind of colour vision; the markers differ too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000", "#F0E442")
MARKERS = "osD^vP*X"
TITLES = {
    "hidden": "hidden states\nrelative squared distance",
    "attention": "attention\nsquared distance of distributions",
    "output": "output\nKL divergence [bits], or\nsquared difference",
}


def plot(names: Sequence[str], gaps: Sequence[Sequence[Gap]], path: Path) -> None:
    """Write a PNG that appears only when it is complete."""
    places = places_of(gaps)
    kinds = list(dict.fromkeys(place.kind for place in places))
    widths = [max(6, sum(place.kind == kind for place in places)) for kind in kinds]
    width = 4 + 0.35 * sum(widths)  # in inches, of which a letter of the legend takes 0.07
    figure, panels = plt.subplots(
        1,
        len(kinds),
        figsize=(width, 4.4),
        width_ratios=widths,
        layout="constrained",
        squeeze=False,
    )
    for axes, kind in zip(panels[0], kinds):
        here = [place for place in places if place.kind == kind]
        for index, (name, found) in enumerate(zip(names, gaps)):
            _lines(axes, here, found, name, COLOURS[index % 8], MARKERS[index % 8])
        axes.set_xticks(range(len(here)), map(_label, here), rotation=90, fontsize=8)
        axes.set_title(TITLES[kind], fontsize=10)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    # Above the panels: inside of one it would hide points.
    columns = max(1, min(len(names), int(width / (0.07 * max(map(len, names)) + 0.6))))
    figure.legend(
        *panels[0][0].get_legend_handles_labels(),
        title="filled: to another pass with dropout; hollow: to the pass without",
        loc="outside upper center",
        ncols=columns,
        fontsize=8,
        title_fontsize=8,
    )
    aside = path.with_name(f"{path.name}.part")
    figure.savefig(aside, dpi=150, format="png")
    plt.close(figure)
    os.replace(aside, path)


def _lines(
    axes: Axes, places: Sequence[Place], gaps: Sequence[Gap], name: str, colour: str, marker: str
) -> None:
    """Filled: to another pass with dropout; hollow: to the pass without. A line for each part."""
    at = {place: index for index, place in enumerate(places)}
    parts: dict[str, list[Gap]] = {}
    for gap in gaps:
        if gap.place in at:
            parts.setdefault(gap.place.part, []).append(gap)
    style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5}
    label = name
    for line in parts.values():
        x = [at[gap.place] for gap in line]
        axes.plot(x, [gap.to_other for gap in line], "-", label=label, **style)
        axes.plot(x, [gap.to_none for gap in line], ":", **style, markerfacecolor="white")
        label = ""  # one entry of the legend for all lines of a checkpoint


def _label(place: Place) -> str:
    return f"{place.part} {place.layer}" if place.layer else ""
