"""The plots of a study whose cells are trained with a preset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from examples.study.merged_tables import Row


def draw(results: Sequence[Row], curves: Sequence[Row], order: Sequence[str], folder: Path) -> None:
    """curves.png."""
    from examples.study.curves import draw as draw_curves

    draw_curves(curves, order, folder / "curves.png")
