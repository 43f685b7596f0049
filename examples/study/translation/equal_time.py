"""The methods at equal wall-clock: what the others had reached when LR-Drop was done."""

from __future__ import annotations

from collections.abc import Sequence

from examples.study.merged_tables import Row
from examples.study.summary import by_method, spread, table
from examples.study.translation.summary import LABELS, gains


def equal_time_table(rows: Sequence[Row], curves: Sequence[Row], order: Sequence[str]) -> str:
    """LR-Drop's methods of one data set beside the best of plain training and of R-Drop in time.

    Of a baseline counts the method of the family, with the same model and seed and on the same
    machine, that had the lowest validation loss in the seconds that LR-Drop took in all. Its test
    score is compared if its scored checkpoint was there by then.
    """
    lines = []
    for method, cells in by_method(rows, order).items():
        if cells[0]["family"] != "lrdrop":
            continue
        line = {"method": method, "seconds": spread([float(row["seconds"]) for row in cells], 0)}
        line["valid nll"] = spread([float(row["best validation nll"]) for row in cells], 3)
        for family, label in LABELS.items():
            line |= _beside(cells, _rivals(rows, curves, cells, family), label)
        lines.append(line)
    if not lines:
        return "No LR-Drop cell is complete yet."
    return table(lines)


def _beside(
    cells: Sequence[Row], rivals: Sequence[tuple[Row, float] | None], label: str
) -> dict[str, str]:
    found = [(cell, *rival) for cell, rival in zip(cells, rivals) if rival]
    in_time = [
        (cell, row)
        for cell, row, _ in found
        if float(row["checkpoint seconds"]) <= float(cell["seconds"])
    ]
    scored = [gain for cell, row in in_time for gain in gains([cell], [row])]
    return {
        label: ", ".join(dict.fromkeys(row["method"] for _, row, _ in found)),
        f"valid nll ({label})": spread([loss for *_, loss in found], 3),
        f"− {label}": spread(scored),
    }


def _rivals(
    rows: Sequence[Row], curves: Sequence[Row], cells: Sequence[Row], family: str
) -> list[tuple[Row, float] | None]:
    """For each cell, the row of its rival and the validation loss that this had by then."""
    same = ("variant", "seed", "machine", "workers")
    rivals = []
    for cell in cells:
        found = [
            (row, min(losses))
            for row in rows
            if row["family"] == family and all(row[name] == cell[name] for name in same)
            if (losses := _losses_by(curves, row, float(cell["seconds"])))
        ]
        rivals.append(min(found, key=lambda pair: pair[1], default=None))
    return rivals


def _losses_by(curves: Sequence[Row], row: Row, seconds: float) -> list[float]:
    """Validation losses of a cell up to then."""
    return [
        float(point["validation nll"])
        for point in curves
        if all(point[name] == row[name] for name in ("data", "method", "seed"))
        and float(point["seconds"]) <= seconds
    ]
