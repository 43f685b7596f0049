"""What a study of translation has beside what all that train with a preset have."""

from __future__ import annotations

from dataclasses import dataclass

from examples.study.presets import studies
from examples.study.studies import Cell


@dataclass(frozen=True)
class Study(studies.Study):
    """``length_penalties``: of the beam search, of which each cell takes the best; or none."""

    length_penalties: tuple[str, ...] = ()

    def settings(self, cell: Cell) -> str:
        settings = super().settings(cell)  # type: ignore[arg-type]
        if self.length_penalties:
            settings += f"; length penalty {' or '.join(self.length_penalties)}"
        return settings
