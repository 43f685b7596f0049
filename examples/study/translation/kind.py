"""What the runner asks of a study of translation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from examples.study.kinds import Kind
from examples.study.merged_tables import Row
from examples.study.translation import comparisons
from examples.study.translation.plan import plan
from examples.study.translation.read import read
from examples.study.translation.report import report
from examples.study.translation.rows import curve_rows, result_row


def draw(results: Sequence[Row], curves: Sequence[Row], order: Sequence[str], folder: Path) -> None:
    """curves.png."""
    from examples.study.curves import draw as draw_curves

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
