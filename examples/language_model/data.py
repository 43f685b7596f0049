"""What prepare.json of a language model's data says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.corpora import preparation
from scripts.corpora.prepare_text import TextError


def read(data: Path) -> dict[str, Any]:
    """The content of prepare.json; TextError where the data are none for language models."""
    if not (data / "prepare.json").is_file():
        raise TextError(
            f"{data / 'prepare.json'} does not exist: make the data directory with "
            "examples/language_model/prepare.sh"
        )
    prepared = preparation.read(data)
    if prepared.get("kind") != "language_model" or not isinstance(prepared.get("subsets"), dict):
        raise TextError(
            f"{data} holds no data for language models: make it with "
            "examples/language_model/prepare.sh"
        )
    for name in ("dict.txt", "train.idx"):
        if not (data / name).is_file():
            raise TextError(f"{data / name} does not exist: prepare the data again")
    return prepared
