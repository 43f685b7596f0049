"""What the runner asks of a study of sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kinds import Kind
from merged_tables import Row

from sentences.plan import plan
from sentences.read import read
from sentences.report import report
from sentences.rows import LOSS, curve_rows, result_row


def draw(results: Sequence[Row], curves: Sequence[Row], order: Sequence[str], folder: Path) -> None:
    """curves.png, and examples.png if a set comes with several numbers of examples."""
    from curves import Loss
    from curves import draw as draw_curves

    from sentences.examples_plot import draw as draw_examples

    draw_curves(curves, order, folder / "curves.png", Loss(LOSS, f"{LOSS} [bits per sentence]"))
    draw_examples(results, order, folder / "examples.png")


KIND = Kind(read=read, plan=plan, row=result_row, curve=curve_rows, report=report, draw=draw)
