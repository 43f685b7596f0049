"""A data set of a study of language models."""

from __future__ import annotations

from dataclasses import dataclass

from examples.study.presets import studies


@dataclass(frozen=True)
class Data(studies.Data):
    """A text and how it is prepared. ``lines`` of it are drawn for training, or all."""

    lines: int | None = None
    vocab_size: int | None = None  # of sentencepiece; None: the words as they are

    @property
    def settings(self) -> str:
        names = " ".join((self.train, self.valid, *self.test))
        unit = f"{self.vocab_size} pieces" if self.vocab_size else "words"
        return f"{self.source}: {names}; {self.lines or 'all'} lines, {unit}"
