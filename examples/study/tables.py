"""The files that a study leaves: rows, which grow, and what is made of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from examples.study import rows
from examples.study.cell_jobs import Evaluation
from examples.study.jobs import Place
from examples.study.kinds import Kind
from examples.study.merged_tables import Row, merge, named, read
from examples.study.progress import say
from examples.study.studies import Cell
from examples.study.study_fields import StudyError
from scripts.runs.complete_files import write


class Tables:
    """results.tsv, curves.tsv, comparisons.tsv, table.md and the plots of a study."""

    def __init__(self, place: Place, kind: Kind[Any, Any], workers: int, machine: str) -> None:
        self._place, self._kind = place, kind
        self._workers, self._machine = workers, machine
        self._cells: dict[tuple[str, ...], Cell] = {
            (cell.data.name, cell.method.name, str(cell.seed)): cell for cell in place.study.cells
        }
        self._order = list(dict.fromkeys(cell.method.name for cell in place.study.cells))
        self._results, self._curves, self._comparisons = (
            place.output / f"{name}.tsv" for name in ("results", "curves", "comparisons")
        )

    def complete(self) -> set[str]:
        """The names of the study's cells that were trained to their end, here or elsewhere.

        Raises:
            ValueError: a file of rows is damaged, or has a row twice.
            StudyError: a row is of a training with other settings.
        """
        read(self._curves, rows.CURVE_KEY)
        read(self._comparisons, self._kind.compare_key)
        ours, _ = self._split(read(self._results, rows.KEY, rows.NEEDED))
        for row in ours:
            cell = self._cells[named(row, rows.KEY)]
            if row["settings"] != (settings := self._place.study.settings(cell)):
                raise StudyError(
                    f"{self._results} has {cell.name} with other settings: there "
                    f"'{row['settings']}', in the study '{settings}'. Give the method another "
                    "name, or take the row and its folder away"
                )
        return {self._cells[named(row, rows.KEY)].name for row in ours if not row["stopped"]}

    def _split(self, results: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        """The rows of the study's cells, and all others."""
        ours: list[Row] = []
        others: list[Row] = []
        for row in results:
            (ours if named(row, rows.KEY) in self._cells else others).append(row)
        return ours, others

    def add(self, evaluation: Evaluation) -> None:
        """Put in the row and the curve of a cell that has been scored."""
        merge(self._curves, rows.CURVE_KEY, self._kind.curve(evaluation), group=rows.KEY)
        row = self._kind.row(evaluation, self._workers, self._machine)
        merge(self._results, rows.KEY, [row])

    def compare(self, evaluations: Sequence[Evaluation], seconds_left: Callable[[], float]) -> int:
        """Make the bootstrap tests that are missing; what fails, or is out of time, is told.

        Returns:
            the exit status: 0, 1 for a failure, 3 for the time.
        """
        if self._kind.compare is None:
            return 0
        try:
            late = False
            for found in self._kind.compare(evaluations, read(self._comparisons)):
                merge(self._comparisons, self._kind.compare_key, found)
                if late:  # and there was one more to come
                    say("the time is up: the next run makes the bootstrap tests that are missing")
                    return 3
                late = seconds_left() <= 0
        except (OSError, RuntimeError) as error:
            say(f"no more bootstrap tests: {error}")
            return 1
        return 0

    def write(self) -> str:
        """Write table.md and the plots, of the study's cells; the table."""
        results, others = self._split(read(self._results, rows.KEY))
        if others:
            names = ", ".join("/".join(named(row, rows.KEY)) for row in others)
            say(f"in no table, as the study has no such cells: {names}")
        curves, comparisons = read(self._curves), read(self._comparisons)
        text = self._kind.report(results, curves, comparisons, self._order)
        write(self._place.output / "table.md", text)
        complete = [row for row in results if not row["stopped"]]
        trained = {named(row, rows.KEY) for row in complete}
        drawn = [row for row in curves if named(row, rows.KEY) in trained]
        if importlib.util.find_spec("matplotlib") is None:
            say("no curves.png: matplotlib is missing; scripts/install.sh --plots installs it")
        elif drawn:
            self._kind.draw(complete, drawn, self._order, self._place.output)
        return text

    def files(self) -> list[str]:
        """The names of all that there is."""
        found = sorted(self._place.output.glob("*.*"))
        return [path.name for path in found if path.suffix in (".tsv", ".md", ".png")]
