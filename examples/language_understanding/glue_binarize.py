"""Writes fairseq's binary data: sentences through GPT-2's byte-level BPE, and labels."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary, indexed_dataset
from fairseq.data.encoders.gpt2_bpe_utils import get_encoder
from glue_tasks import GlueError

ENCODER, MERGES, DICTIONARY = "encoder.json", "vocab.bpe", "dict.txt"

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
    indices = [dictionary.index(str(piece)) for piece in _worker["encoder"].encode(text)]
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


def write_label_dictionary(folder: Path, labels: Sequence[str], train: Sequence[str]) -> Dictionary:
    """label/dict.txt: the labels in the task's order, whatever their frequency; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = "".join(f"{label} {train.count(label)}\n" for label in labels)
    (folder / "dict.txt").write_text(counts, encoding="utf-8")
    return Dictionary.load(str(folder / "dict.txt"))
