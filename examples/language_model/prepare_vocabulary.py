"""The vocabulary of data that prepare.sh made, for new text: a model of those data reads it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from examples.language_model import data as prepared_data
from scripts.corpora import prepare_subwords
from scripts.corpora.prepare_subwords import Segmenter
from scripts.corpora.prepare_text import TextError
from scripts.corpora.prepare_vocabulary import DICTIONARY, MODEL, SUBWORDS, checked_symbols

# What prepare.json says of the vocabulary.
DESCRIBED = ("unit", *SUBWORDS)


def take_over(data: Path, output: Path, workers: int) -> tuple[dict[str, Any], Segmenter]:
    """Copy the vocabulary of ``data`` to ``output``, and the dictionary to its text/.

    Returns what describes the vocabulary, for prepare.json, and the segmentation of the new text.

    Raises:
        TextError: ``data`` is not for language models, or its vocabulary is damaged.
    """
    record = prepared_data.read(data)
    checked_symbols(data, data / DICTIONARY)
    segment: Segmenter = prepare_subwords.words
    if record["unit"] == "piece":
        if not (data / MODEL).is_file():
            raise TextError(f"{data / MODEL} does not exist: prepare that data again")
        shutil.copyfile(data / MODEL, output / MODEL)
        segment = prepare_subwords.segmenter(output / MODEL, workers)
    shutil.copyfile(data / DICTIONARY, output / "text" / DICTIONARY)
    described = {key: record[key] for key in DESCRIBED if key in record}
    return {**described, "vocabulary_of": data.resolve().name}, segment
