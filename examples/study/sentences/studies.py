"""What a study of classified sentences has beside what all have."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from examples.study import studies

METRICS = ("accuracy", "mcc")
# Of the updates of a fine-tuning, as fairseq's published ones of RoBERTa.
WARMUP = 0.06


@dataclass(frozen=True)
class Data(studies.Data):
    """A set of labelled sentences, of whose training part ``examples`` are drawn for each seed."""

    source: str  # folder of train.tsv, valid.tsv and test.tsv, as the study has it
    text: Path
    examples: int
    metric: str = "accuracy"  # what is reported, and chooses the checkpoint
    updates: int | None = None  # in the place of the study's

    @property
    def set_name(self) -> str:
        return self.text.name

    def file(self, subset: str) -> Path:
        return self.text / f"{subset}.tsv"


@dataclass(frozen=True)
class Method(studies.Method):
    """``from_scratch``: the model has random parameters, and no others are loaded."""

    from_scratch: bool = False

    @property
    def warmup(self) -> int:
        return round(WARMUP * self.updates)


@dataclass(frozen=True)
class Cell(studies.Cell):
    """One fine-tuning on the examples that its seed draws."""

    data: Data
    method: Method

    @property
    def data_name(self) -> str:
        """The name of its data directory."""
        return f"{self.data.name}-seed{self.seed}"


@dataclass(frozen=True)
class Study(studies.Study):
    """``pretrained``: a folder in Hugging Face's layout, as the study has it, and its place."""

    pretrained: str
    pretrained_path: Path
    keep_checkpoints: bool = False

    def data_settings(self, data: Data) -> str:
        """All that decides what is prepared, but for the seed."""
        return f"{data.source}: {data.examples} examples; {self.pretrained}"

    def settings(self, cell: Cell) -> str:  # type: ignore[override]
        method = cell.method
        parts = [self.data_settings(cell.data), shlex.join(self.flags + method.flags)]
        parts += ["random parameters"] if method.from_scratch else []
        parts += [method.terms, f"{method.updates} updates, {method.warmup} of warm-up"]
        parts += [f"validation every {self.validate_every}", f"best valid {cell.data.metric}"]
        return "; ".join(parts)
