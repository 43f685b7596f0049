"""What the runner asks of a study of language models."""

from __future__ import annotations

from examples.study.kinds import Kind
from examples.study.language.plan import plan
from examples.study.language.read import read
from examples.study.language.report import report
from examples.study.language.rows import curve_rows, result_row
from examples.study.presets.plots import draw

KIND = Kind(read=read, plan=plan, row=result_row, curve=curve_rows, report=report, draw=draw)
