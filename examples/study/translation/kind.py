"""What the runner asks of a study of translation."""

from __future__ import annotations

from examples.study.kinds import Kind
from examples.study.presets.plots import draw
from examples.study.translation import comparisons
from examples.study.translation.plan import plan
from examples.study.translation.read import read
from examples.study.translation.report import report
from examples.study.translation.rows import curve_rows, result_row

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
