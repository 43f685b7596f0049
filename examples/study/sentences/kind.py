"""What the runner asks of a study of sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from examples.study.kinds import Kind
from examples.study.merged_tables import Row
from examples.study.sentences.plan import plan
from examples.study.sentences.read import read
from examples.study.sentences.report import report
from examples.study.sentences.rows import LOSS, curve_rows, result_row


def draw(results: Sequence[Row], curves: Sequence[Row], order: Sequence[str], folder: Path) -> None:
    """curves.png, and examples.png if a set comes with several numbers of examples."""
    from examples.study.curves import Loss
    from examples.study.curves import draw as draw_curves
    from examples.study.sentences.examples_plot import draw as draw_examples

    draw_curves(curves, order, folder / "curves.png", Loss(LOSS, f"{LOSS} [bits per sentence]"))
    draw_examples(results, order, folder / "examples.png")


KIND = Kind(read=read, plan=plan, row=result_row, curve=curve_rows, report=report, draw=draw)
