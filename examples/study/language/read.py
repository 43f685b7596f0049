"""Reads a study of language models."""

from __future__ import annotations

from pathlib import Path

from examples.study.language.data import Data
from examples.study.presets.read import read_study, read_tests
from examples.study.presets.studies import Study
from examples.study.study_fields import Fields


def read(top: Fields, root: Path) -> Study:
    """The study in a file; relative folders of text are taken from ``root``.

    Raises:
        StudyError: the file is no study.
    """
    return read_study("language", top, root, _data)


def _data(fields: Fields, root: Path) -> Data:
    fields.allow("text", "train", "valid", "test", "lines", "vocab_size")
    source = fields.text("text")
    return Data(
        name=fields.name,
        source=source,
        text=root / source,
        train=fields.text("train"),
        valid=fields.text("valid"),
        test=read_tests(fields, root / source),
        lines=fields.whole("lines", None),
        vocab_size=fields.whole("vocab_size", None),
    )
