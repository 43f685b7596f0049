"""A study: one YAML file of data sets, methods and seeds, and the cells that they make.

The README beside this file describes the format. Here is what all kinds of task have in common; a
kind derives its own from it. Nothing is started here.
"""

from __future__ import annotations

from dataclasses import dataclass

WEIGHTS = ("hidden", "attention", "output")


@dataclass(frozen=True)
class Data:
    """What is trained on, and how it is prepared; a kind adds the rest."""

    name: str


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

    @property
    def terms(self) -> str:
        """The terms and when they act, in words."""
        found = [f"{name} {getattr(self, name):g}" for name in WEIGHTS if getattr(self, name)]
        if not found:
            return "no terms"
        return " ".join([*found, f"start {self.start}", f"ramp {self.ramp}"])

    @property
    def weight_flags(self) -> list[str]:
        """The weights as fairseq-train takes them."""
        return [f"--lr-drop-{name}-weight={getattr(self, name):g}" for name in WEIGHTS]


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
    """What a file says. ``kind``: the package that knows this kind of task."""

    kind: str
    name: str
    flags: tuple[str, ...]
    validate_every: int
    cells: tuple[Cell, ...]

    def settings(self, cell: Cell) -> str:
        """All that decides what comes out of a cell, but for seed, device and versions: one line.

        A row of results that has other settings is the result of another training.
        """
        raise NotImplementedError
