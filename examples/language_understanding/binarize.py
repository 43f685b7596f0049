"""Writes fairseq's binary data: sentences, as through GPT-2's byte-level BPE, and labels."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from fairseq.data import Dictionary, indexed_dataset

from examples.language_understanding.encoders import DICTIONARY, ENCODER, MERGES, TextEncoder
from examples.language_understanding.sentence_tasks import TaskError
from scripts.corpora.gpt2_bpe import gpt2
from scripts.corpora.parallel_lines import map_lines
from scripts.corpora.prepare_text import TextError


def check_bpe(folder: Path) -> None:
    """TaskError unless the folder has the three files, and they can be read."""
    for name in (ENCODER, MERGES, DICTIONARY):
        if not (folder / name).is_file():
            raise TaskError(f"{folder / name} does not exist: it belongs to GPT-2's BPE")
    try:
        gpt2(str(folder))
        Dictionary.load(str(folder / DICTIONARY))
    except ValueError as error:
        raise TaskError(
            f"{folder}: {ENCODER}, {MERGES} or {DICTIONARY} is damaged: {error}"
        ) from error


def encode_all(texts: Sequence[str], folder: Path, workers: int) -> Iterator[list[int]]:
    """Each sentence's indices in the dictionary, with end of sentence, in order."""
    dictionary = Dictionary.load(str(folder / DICTIONARY))
    try:
        for tokens in map_lines(gpt2, (str(folder),), texts, workers):
            yield [*map(dictionary.index, tokens.split()), dictionary.eos()]
    except TextError as error:
        raise TaskError(f"{error}: they belong to two BPEs") from error


def write_indices(prefix: Path, sentences: Iterable[list[int]], dictionary: Dictionary) -> int:
    """Write prefix.bin and prefix.idx; returns the number of unknown symbols."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    builder = indexed_dataset.make_builder(f"{prefix}.bin", "mmap", len(dictionary))
    unknown = 0
    for indices in sentences:
        builder.add_item(torch.tensor(indices, dtype=torch.int64))
        unknown += indices.count(dictionary.unk())
    builder.finalize(f"{prefix}.idx")
    return unknown


@dataclass
class Written:
    """What became of the sentences of one subset."""

    unknown: int = 0  # symbols that the dictionary does not have
    cut: int = 0  # examples with more pieces than the model has positions


def write_inputs(
    output: Path, texts: Mapping[str, Sequence[tuple[str, ...]]], encoder: TextEncoder
) -> dict[str, Written]:
    """input0/ and, for pairs, input1/, from the sentences of the examples of each subset."""
    count = len(next(iter(texts.values()))[0])
    written = {subset: Written() for subset in texts}
    lengths: dict[str, list[int]] = {subset: [0] * len(rows) for subset, rows in texts.items()}
    for number in range(count):
        folder = output / f"input{number}"
        for subset, rows in texts.items():
            indices = encoder.encode([row[number] for row in rows])
            measured = _measured(indices, lengths[subset])
            written[subset].unknown += write_indices(folder / subset, measured, encoder.dictionary)
        shutil.copyfile(encoder.files[DICTIONARY], folder / "dict.txt")
    for subset, pieces in lengths.items():
        too_long = (encoder.length(n, count) > encoder.max_positions for n in pieces)
        written[subset].cut = sum(too_long)
    return written


def _measured(sentences: Iterable[list[int]], lengths: list[int]) -> Iterator[list[int]]:
    """The sentences, their lengths added to what is there."""
    for place, indices in enumerate(sentences):
        lengths[place] += len(indices)
        yield indices


def write_classes(
    folder: Path, labels: Sequence[str], labelled: Mapping[str, Sequence[str]]
) -> None:
    """label/ of a classification: indices, and the dictionary of all labels."""
    dictionary = write_label_dictionary(folder, labels, labelled["train"])
    for subset, given in labelled.items():
        indices = ([dictionary.index(label), dictionary.eos()] for label in given)
        write_indices(folder / subset, indices, dictionary)


def write_numbers(folder: Path, labelled: Mapping[str, Sequence[str]]) -> None:
    """label/ of a regression: numbers as text."""
    folder.mkdir()
    for subset, given in labelled.items():
        text = "".join(f"{number}\n" for number in given)
        (folder / f"{subset}.label").write_text(text, encoding="utf-8")


def write_label_dictionary(folder: Path, labels: Sequence[str], train: Sequence[str]) -> Dictionary:
    """label/dict.txt: the labels in the task's order, whatever their frequency; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = Counter(train)
    counts = "".join(f"{label} {numbers[label]}\n" for label in labels)
    (folder / "dict.txt").write_text(counts, encoding="utf-8")
    return Dictionary.load(str(folder / "dict.txt"))
