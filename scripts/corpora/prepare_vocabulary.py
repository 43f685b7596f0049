"""The vocabulary of a data directory that prepare.sh made, for new text.

A model that was trained on those data can be fine-tuned on, or translate, the new ones: each of its
embeddings stands for the same word in both.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from scripts.corpora import preparation, prepare_subwords
from scripts.corpora.prepare_subwords import Segmenter
from scripts.corpora.prepare_text import TextError

MODEL, CODES, DICTIONARY = "sentencepiece.model", "bpecodes", "dict.txt"
# What prepare.json says of the subwords.
SUBWORDS = ("vocab_size", "sentencepiece", "model_type", "character_coverage", "normalization")
DESCRIBED = ("pretokenized", *SUBWORDS)


def read(data: Path) -> dict[str, Any]:
    """prepare.json of a translation's data; TextError where it is not what prepare.sh writes."""
    if not (data / "prepare.json").is_file():
        raise TextError(
            f"--vocabulary-of {data}: no prepare.json in it; give a directory that prepare.sh made"
        )
    return preparation.read(data, "source_lang", "target_lang", "pretokenized")


def dictionary(data: Path, record: dict[str, Any]) -> Path:
    """The joint dictionary of the data. TextError where there is none, or it has changed since."""
    paths = [data / f"dict.{record[side]}.txt" for side in ("source_lang", "target_lang")]
    first, second = (checked_symbols(data, path) for path in paths)
    if first != second:
        raise TextError(f"{paths[0]} and {paths[1]} differ: one joint dictionary is needed")
    return paths[0]


def checked_symbols(data: Path, path: Path) -> list[str]:
    """The symbols of a dictionary of ``data``, in order.

    Raises:
        TextError: it does not exist, is damaged, or is not the one that prepare.json speaks of.
    """
    from fairseq.data import Dictionary

    from lrdrop_fairseq.vocabulary import VocabularyError, check_preparation

    if not path.is_file():
        raise TextError(f"--vocabulary-of {data}: {path} does not exist; prepare that data again")
    try:
        loaded = Dictionary.load(str(path))
    except Exception as error:  # fairseq raises some kinds, one of them Exception itself
        raise TextError(f"--vocabulary-of {data}: a dictionary is damaged: {error}") from error
    try:
        check_preparation(str(path), loaded)
    except VocabularyError as error:
        raise TextError(str(error)) from error
    symbols: list[str] = loaded.symbols
    return symbols


def take_over(
    data: Path, output: Path, pretokenized: bool, workers: int
) -> tuple[dict[str, Any], Segmenter]:
    """Copies the vocabulary of `data` to `output`, and the dictionary to its text/.

    With `pretokenized` the new text is in the BPE of `data` already. Returns what describes the
    subwords, for prepare.json, and the segmentation of the new text. Raises TextError when `data`
    has no vocabulary that fits.
    """
    record = read(data)
    if pretokenized and not record["pretokenized"]:
        raise TextError(
            f"--pretokenized does not go with {data}, whose vocabulary is a sentencepiece model: "
            "give the text as it is"
        )
    name = CODES if record["pretokenized"] else MODEL
    if (data / name).is_file():
        shutil.copyfile(data / name, output / name)
    elif not pretokenized:
        raise TextError(
            f"{data / name} does not exist, so the text cannot be cut into the subwords of {data}"
            + (": give it in BPE, with --pretokenized" if name == CODES else "")
        )
    shutil.copyfile(dictionary(data, record), output / "text" / DICTIONARY)
    if pretokenized:
        segment: Segmenter = prepare_subwords.words
    elif name == CODES:
        segment = prepare_subwords.bpe_segmenter(output / name)
    else:
        segment = prepare_subwords.segmenter(output / name, workers)
    described = {key: record[key] for key in DESCRIBED if key in record}
    return {**described, "vocabulary_of": data.resolve().name}, segment
