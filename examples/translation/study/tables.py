"""The files that a study leaves: rows, which grow, and what is made of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

import comparisons
import rows
from complete_files import write
from evaluations import Evaluation
from jobs import Place
from merged_tables import merge, read
from progress import say
from study_report import report


class Tables:
    """results.tsv, curves.tsv, comparisons.tsv, table.md and curves.png of a study."""

    def __init__(self, place: Place, workers: int, machine: str) -> None:
        self._place, self._workers, self._machine = place, workers, machine
        self._order = list(dict.fromkeys(cell.method.name for cell in place.study.cells))
        self._results, self._curves, self._comparisons = (
            place.output / f"{name}.tsv" for name in ("results", "curves", "comparisons")
        )

    def add(self, evaluation: Evaluation) -> None:
        """Put in the row and the curve of a cell that has been scored."""
        merge(self._curves, rows.CURVE_KEY, rows.curve_rows(evaluation), group=rows.KEY)
        row = rows.result_row(evaluation, self._workers, self._machine)
        merge(self._results, rows.KEY, [row])

    def compare(self, evaluations: Sequence[Evaluation], seconds_left: Callable[[], float]) -> None:
        """Make the bootstrap tests that are missing; what fails, or is out of time, is told."""
        try:
            for found in comparisons.compare(evaluations, read(self._comparisons)):
                merge(self._comparisons, comparisons.KEY, found)
                if seconds_left() <= 0:
                    say("the time is up: the next run makes the bootstrap tests that are missing")
                    return
        except (OSError, RuntimeError) as error:
            say(f"no more bootstrap tests: {error}")

    def write(self) -> str:
        """Write table.md and curves.png; the table."""
        results, curves = read(self._results), read(self._curves)
        text = report(results, curves, read(self._comparisons), self._order)
        write(self._place.output / "table.md", text)
        complete = {tuple(row[n] for n in rows.KEY) for row in results if not row["stopped"]}
        drawn = [row for row in curves if tuple(row[n] for n in rows.KEY) in complete]
        if importlib.util.find_spec("matplotlib") is None:
            say("no curves.png: matplotlib is missing; scripts/install.sh --plots installs it")
        elif drawn:
            from curves import draw

            draw(drawn, self._order, self._place.output / "curves.png")
        return text
