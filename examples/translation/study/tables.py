"""The files that a study leaves: rows, which grow, and what is made of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import comparisons
import rows
from complete_files import write
from jobs import Evaluation, Place
from merged_tables import merge, read
from progress import say
from summary import by_method, summarize


class Tables:
    """results.tsv, curves.tsv, comparisons.tsv, table.md and curves.png of a study."""

    def __init__(self, place: Place, workers: int, machine: str) -> None:
        self._place, self._workers, self._machine = place, workers, machine
        self._results, self._curves, self._comparisons = (
            place.output / f"{name}.tsv" for name in ("results", "curves", "comparisons")
        )

    def add(self, evaluation: Evaluation) -> None:
        """Put in the row and the curve of a cell that has been scored."""
        merge(self._curves, rows.CURVE_KEY, rows.curve_rows(evaluation))
        row = rows.result_row(evaluation, self._workers, self._machine)
        merge(self._results, rows.KEY, [row])

    def compare(self, evaluations: Sequence[Evaluation]) -> None:
        """Make the bootstrap tests that are missing."""
        found = comparisons.compare(evaluations, read(self._comparisons))
        if found:
            merge(self._comparisons, comparisons.KEY, found)

    def write(self) -> str:
        """Write table.md and curves.png; the table."""
        results = read(self._results)
        text = summarize(results, read(self._comparisons))
        write(self._place.output / "table.md", text)
        curves = read(self._curves)
        if importlib.util.find_spec("matplotlib") is None:
            say("no curves.png: matplotlib is missing; scripts/install.sh --plots installs it")
        elif results and curves:
            from curves import draw

            draw(curves, list(by_method(results)), self._place.output / "curves.png")
        return text
