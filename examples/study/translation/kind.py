"""What the runner asks of a study of translation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kinds import Kind
from merged_tables import Row

from translation import comparisons
from translation.plan import plan
from translation.read import read
from translation.report import report
from translation.rows import curve_rows, result_row


def draw(results: Sequence[Row], curves: Sequence[Row], order: Sequence[str], folder: Path) -> None:
    """curves.png."""
    from curves import draw as draw_curves

    draw_curves(curves, order, folder / "curves.png")


KIND = Kind(
    read=read,
    plan=plan,
    row=result_row,
    curve=curve_rows,
    report=report,
    draw=draw,
    compare=comparisons.compare,
    compare_key=comparisons.KEY,
)
