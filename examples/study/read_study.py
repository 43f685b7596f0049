"""Reads a study from its YAML file, and refuses what cannot be run."""

from __future__ import annotations

from pathlib import Path

import yaml

from examples.study.kinds import DEFAULT, kind_of
from examples.study.studies import Study
from examples.study.study_fields import Fields, StudyError


def read_study(path: Path, root: Path) -> Study:
    """The study in a file; relative folders of text are taken from ``root``.

    Raises:
        StudyError: the file is no study.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise StudyError(f"{path}: cannot be read as YAML: {error}") from error
    top = Fields(content, str(path), path.stem)
    try:
        kind = kind_of(top.content.get("kind", DEFAULT))
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error
    return kind.read(top, root)
