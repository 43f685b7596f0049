"""What a study of translation has beside what all have."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from examples.study import studies


@dataclass(frozen=True)
class Data(studies.Data):
    """Parallel text and how it is prepared. ``pairs`` of them are drawn for training, or all."""

    source: str  # folder of the text, as the study has it
    text: Path
    source_lang: str
    target_lang: str
    train: str
    valid: str
    test: tuple[str, ...]
    pairs: int | None = None
    vocab_size: int | None = None  # of sentencepiece; None: the text is in BPE already

    @property
    def subsets(self) -> list[str]:
        """What is translated, in the names of prepare.sh."""
        return ["valid", "test", *(f"test{i}" for i in range(1, len(self.test)))]

    @property
    def settings(self) -> str:
        """All that decides what is prepared, in one line."""
        names = " ".join((self.source_lang, self.target_lang, self.train, self.valid, *self.test))
        amount = f"{self.pairs or 'all'} pairs, {self.vocab_size or 'given'} pieces"
        return f"{self.source}: {names}; {amount}"


@dataclass(frozen=True)
class Cell(studies.Cell):
    """One training on parallel text."""

    data: Data


@dataclass(frozen=True)
class Study(studies.Study):
    """``average`` checkpoints are averaged; None: the best by validation loss."""

    cells: tuple[Cell, ...]
    preset: str
    average: int | None

    @property
    def rule(self) -> str:
        return f"average of {self.average}" if self.average else "best validation loss"

    def settings(self, cell: Cell) -> str:  # type: ignore[override]
        method = cell.method
        parts = [cell.data.settings, f"preset {self.preset}", shlex.join(self.flags + method.flags)]
        parts += [method.terms, f"{method.updates} updates"]
        parts += [f"validation every {self.validate_every}", self.rule]
        return "; ".join(parts)
