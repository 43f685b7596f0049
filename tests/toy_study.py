"""Small studies in files."""

from __future__ import annotations

from pathlib import Path

from examples.study.read_study import read_study
from examples.study.studies import Study
from tests.toy_run import ROOT


def write_study(folder: Path, text: str, **changes: str) -> Path:
    """A study in a file, some of its words changed; FOLDER is where its text is."""
    for old, new in {"FOLDER": str(folder), **changes}.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "small.yaml"
    path.write_text(text)
    return path


def make_study(folder: Path, text: str, **changes: str) -> Study:
    """The same, read."""
    return read_study(write_study(folder, text, **changes), ROOT)
