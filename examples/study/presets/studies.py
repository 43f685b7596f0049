"""What a study whose cells are trained with a preset has beside what all have."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from examples.study import studies


@dataclass(frozen=True)
class Data(studies.Data):
    """Text and how it is prepared; a kind adds the rest. The names are those of texts in it."""

    source: str  # folder of the text, as the study has it
    text: Path
    train: str
    valid: str
    test: tuple[str, ...]

    @property
    def subsets(self) -> list[str]:
        """What is scored, in the names of the prepare.sh."""
        return ["valid", "test", *(f"test{i}" for i in range(1, len(self.test)))]

    @property
    def settings(self) -> str:
        """All that decides what is prepared, in one line."""
        raise NotImplementedError


@dataclass(frozen=True)
class Cell(studies.Cell):
    """One training from scratch."""

    data: Data


def checkpoint_rule(average: int | None) -> str:
    """Which checkpoint is scored, in words."""
    if average is None:
        return "best validation loss"
    return "last checkpoint" if average == 1 else f"average of {average}"


@dataclass(frozen=True)
class Study(studies.Study):
    """``average`` checkpoints are averaged; 1: the last one; None: the best by validation loss."""

    cells: tuple[Cell, ...]
    preset: str
    average: int | None

    @property
    def rule(self) -> str:
        return checkpoint_rule(self.average)

    def settings(self, cell: Cell) -> str:  # type: ignore[override]
        method = cell.method
        parts = [cell.data.settings, f"preset {self.preset}", shlex.join(self.flags + method.flags)]
        parts += [method.terms, f"{method.updates} updates"]
        parts += [f"validation every {self.validate_every}", self.rule]
        return "; ".join(parts)
