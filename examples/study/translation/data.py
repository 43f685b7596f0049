"""A data set of a study of translation."""

from __future__ import annotations

from dataclasses import dataclass

from examples.study.presets import studies
from examples.study.presets.evaluations import Evaluation


@dataclass(frozen=True)
class Data(studies.Data):
    """Parallel text and how it is prepared. ``pairs`` of them are drawn for training, or all."""

    source_lang: str
    target_lang: str
    pairs: int | None = None
    vocab_size: int | None = None  # of sentencepiece; None: the text is in BPE already

    @property
    def settings(self) -> str:
        names = " ".join((self.source_lang, self.target_lang, self.train, self.valid, *self.test))
        amount = f"{self.pairs or 'all'} pairs, {self.vocab_size or 'given'} pieces"
        return f"{self.source}: {names}; {amount}"


def data_of(evaluation: Evaluation) -> Data:
    """The data set of a cell of a study of translation."""
    data = evaluation.cell.data
    assert isinstance(data, Data)
    return data
