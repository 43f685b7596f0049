"""Reads a study of translation."""

from __future__ import annotations

from pathlib import Path

from examples.study.presets.read import read_study, read_tests
from examples.study.presets.studies import Study
from examples.study.study_fields import Fields
from examples.study.translation.data import Data


def read(top: Fields, root: Path) -> Study:
    """The study in a file; relative folders of text are taken from ``root``.

    Raises:
        StudyError: the file is no study.
    """
    return read_study("translation", top, root, _data)


def _data(fields: Fields, root: Path) -> Data:
    fields.allow("text", "source_lang", "target_lang", "train", "valid", "test", "pairs",
                 "vocab_size")  # fmt: skip
    source = fields.text("text")
    return Data(
        name=fields.name,
        source=source,
        text=root / source,
        train=fields.text("train"),
        valid=fields.text("valid"),
        test=read_tests(fields, root / source),
        source_lang=fields.text("source_lang"),
        target_lang=fields.text("target_lang"),
        pairs=fields.whole("pairs", None),
        vocab_size=fields.whole("vocab_size", None),
    )
