"""Draws the dropout gap: a panel for the hidden states, the attention and the output each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib

from lrdrop_fairseq.dropout_gap.measure import Gap

matplotlib.use("Agg")  # files only, so that no display is needed

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

# Colours of Okabe and Ito, told apart with every kind of colour vision; the markers differ too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000", "#F0E442")
MARKERS = "osD^vP*X"
TITLES = {
    "hidden": "hidden states\nrelative squared distance",
    "attention": "attention\nsquared distance of distributions",
    "output": "output\nKL divergence [bits]",
}


def plot(names: Sequence[str], gaps: Sequence[Sequence[Gap]], path: Path) -> None:
    """Write a PNG that appears only when it is complete."""
    kinds = [kind for kind in TITLES if any(gap.place.kind == kind for gap in gaps[0])]
    widths = [max(6, sum(gap.place.kind == kind for gap in gaps[0])) for kind in kinds]
    figure, panels = plt.subplots(
        1,
        len(kinds),
        figsize=(4 + 0.35 * sum(widths), 4.4),
        width_ratios=widths,
        layout="constrained",
        squeeze=False,
    )
    for axes, kind in zip(panels[0], kinds):
        for index, (name, found) in enumerate(zip(names, gaps)):
            here = [gap for gap in found if gap.place.kind == kind]
            _lines(axes, here, name, COLOURS[index % 8], MARKERS[index % 8])
        axes.set_title(TITLES[kind], fontsize=10)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    # Above the panels: inside of one it would hide points.
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(names), fontsize=8)
    aside = path.with_name(f"{path.name}.part")
    figure.savefig(aside, dpi=150, format="png")
    plt.close(figure)
    os.replace(aside, path)


def _lines(axes: Axes, gaps: Sequence[Gap], name: str, colour: str, marker: str) -> None:
    """Filled: to another pass with dropout; hollow: to the pass without. A line for each part."""
    labels = [_label(gap) for gap in gaps]
    for part in dict.fromkeys(gap.place.part for gap in gaps):
        at = [index for index, gap in enumerate(gaps) if gap.place.part == part]
        style = {"color": colour, "marker": marker, "markersize": 5}
        label = None if at[0] else f"{name}, to another pass"
        axes.plot(at, [gaps[i].to_other for i in at], "-", label=label, **style)  # type: ignore[arg-type]
        label = None if at[0] else f"{name}, to the pass without dropout"
        style["markerfacecolor"] = "white"
        axes.plot(at, [gaps[i].to_none for i in at], ":", label=label, **style)  # type: ignore[arg-type]
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)


def _label(gap: Gap) -> str:
    return f"{gap.place.part} {gap.place.layer}" if gap.place.layer else ""
