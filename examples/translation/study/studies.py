"""A study: one YAML file of data sets, methods and seeds, and the cells that they make.

The README beside this file describes the format. Nothing is started here.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

WEIGHTS = ("hidden", "attention", "output")


@dataclass(frozen=True)
class Data:
    """Parallel text and how it is prepared. ``pairs`` of them are drawn for training, or all."""

    name: str
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
class Method:
    """The weights of the terms, and when they act; plain training has none."""

    name: str
    hidden: float = 0.0
    attention: float = 0.0
    output: float = 0.0
    start: int = 0
    ramp: int = 0
    updates: int = 0
    flags: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """plain, rdrop (the output term alone) or lrdrop."""
        if self.hidden > 0 or self.attention > 0:
            return "lrdrop"
        return "rdrop" if self.output > 0 else "plain"

    @property
    def plain_flags(self) -> tuple[str, ...]:
        """The flags that matter before the terms act: all but those of the terms."""
        kept, skip = [], False
        for word in self.flags:
            own = word.startswith("--lr-drop-")
            if not own and not (skip and not word.startswith("--")):
                kept.append(word)
            skip = own and "=" not in word
        return tuple(kept)


@dataclass(frozen=True)
class Cell:
    """One training: a data set, a method and a seed."""

    data: Data
    method: Method
    seed: int

    @property
    def name(self) -> str:
        return f"{self.data.name}/{self.method.name}-seed{self.seed}"


@dataclass(frozen=True)
class Study:
    """What a file says. ``average`` checkpoints are averaged; None: the best by validation loss."""

    name: str
    preset: str
    flags: tuple[str, ...]
    validate_every: int
    average: int | None
    cells: tuple[Cell, ...]

    @property
    def rule(self) -> str:
        return f"average of {self.average}" if self.average else "best validation loss"

    def settings(self, cell: Cell) -> str:
        """All that decides what comes out of a cell, but for seed, device and versions: one line.

        A row of results that has other settings is the result of another training.
        """
        method = cell.method
        terms = [f"{name} {getattr(method, name):g}" for name in WEIGHTS if getattr(method, name)]
        if terms:
            terms += [f"start {method.start}", f"ramp {method.ramp}"]
        parts = [cell.data.settings, f"preset {self.preset}", shlex.join(self.flags + method.flags)]
        parts += [" ".join(terms) or "no terms", f"{method.updates} updates"]
        parts += [f"validation every {self.validate_every}", self.rule]
        return "; ".join(parts)
