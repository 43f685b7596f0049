"""Writes fairseq's binary data: sentences, as through GPT-2's byte-level BPE, and labels."""

from __future__ import annotations

import multiprocessing
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary, indexed_dataset
from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

from examples.language_understanding.encoders import DICTIONARY, ENCODER, MERGES, TextEncoder
from examples.language_understanding.glue_tasks import GlueError

# In each worker process: GPT-2's encoder and the model's dictionary.
_worker: dict[str, Any] = {}


def check_bpe(folder: Path) -> None:
    """GlueError unless the folder has the three files, and they can be read."""
    for name in (ENCODER, MERGES, DICTIONARY):
        if not (folder / name).is_file():
            raise GlueError(f"{folder / name} does not exist: it belongs to GPT-2's BPE")
    try:  # here, because a pool would start workers that fail again and again
        load_bpe(folder)
    except ValueError as error:
        raise GlueError(
            f"{folder}: {ENCODER}, {MERGES} or {DICTIONARY} is damaged: {error}"
        ) from error


def load_bpe(folder: Path) -> None:
    """Make this process ready for :func:`encode`."""
    _worker["encoder"] = get_encoder(str(folder / ENCODER), str(folder / MERGES))
    _worker["dictionary"] = Dictionary.load(str(folder / DICTIONARY))


def encode(text: str) -> list[int]:
    """The dictionary's indices of a sentence, with end of sentence."""
    dictionary: Dictionary = _worker["dictionary"]
    try:
        indices = [dictionary.index(str(piece)) for piece in _worker["encoder"].encode(text)]
    except KeyError as error:
        raise GlueError(
            f"{ENCODER} lacks {error}, which {MERGES} makes: they belong to two BPEs"
        ) from error
    return [*indices, dictionary.eos()]


def encode_all(texts: Sequence[str], folder: Path, workers: int) -> Iterator[list[int]]:
    """Each sentence's indices, in order."""
    if workers == 1:
        load_bpe(folder)
        yield from map(encode, texts)
        return
    with multiprocessing.Pool(workers, load_bpe, (folder,)) as pool:
        yield from pool.imap(encode, texts, chunksize=1000)


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
