"""Reads a study of translation."""

from __future__ import annotations

from pathlib import Path

from examples.study.presets.read import read_study, read_tests
from examples.study.study_fields import Fields, StudyError
from examples.study.translation.data import Data
from examples.study.translation.studies import Study


def read(top: Fields, root: Path) -> Study:
    """The study in a file; relative folders of text are taken from ``root``.

    Raises:
        StudyError: the file is no study.
    """
    study = read_study("translation", top, root, _data, "length_penalties")
    return Study(**vars(study), length_penalties=_length_penalties(top))


def _length_penalties(top: Fields) -> tuple[str, ...]:
    found = top.content.get("length_penalties", [])
    numbers = isinstance(found, list) and all(type(p) in (int, float) and p >= 0 for p in found)
    if not numbers or len(set(found)) < len(found):
        raise StudyError(f"{top.where}: length_penalties must be a list of different numbers of at "
                         f"least 0, not {found!r}")  # fmt: skip
    return tuple(f"{penalty:g}" for penalty in found)


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
