"""The models and batches that the benchmarks measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from fairseq.data import Dictionary, data_utils, language_pair_dataset, monolingual_dataset


@dataclass(frozen=True)
class Shape:
    """A model, and the sentences of its batches.

    Attributes:
        flags: architecture and its options, as for fairseq-train.
        vocabulary: size of the dictionary that source and target share.
        source_length: median number of source tokens; lengths are log-normal around it.
        target_length: likewise.
        spread: standard deviation of the logarithm of the lengths.
        own_spread: the part of it in which the target's length does not follow the source's.
        max_tokens: of a batch, padding included, as fairseq's ``--max-tokens``.
        gpu_max_tokens: of a batch that fills a GPU of 80 GB, see ``gpu_steps``.
        task: fairseq's; the samples of language_modeling are targets alone.
    """

    flags: tuple[str, ...]
    vocabulary: int
    source_length: int
    target_length: int
    spread: float
    own_spread: float
    max_tokens: int
    gpu_max_tokens: int
    task: str = "translation"


# Of the corpus that the batches come from, about that of Multi30k.
N_SENTENCES = 30_000
_TRANSLATION = ("--dropout", "0.3", "--share-all-embeddings")
_BART_LAYERS = """
    --arch lr_drop_transformer --share-all-embeddings --encoder-layers 2 --decoder-layers 2
    --encoder-embed-dim 1024 --encoder-ffn-embed-dim 4096 --encoder-attention-heads 16
    --decoder-attention-heads 16 --encoder-learned-pos --decoder-learned-pos
    --layernorm-embedding --activation-fn gelu --dropout 0.1 --attention-dropout 0.1
"""

SHAPES = {
    # Transformer-Tiny: 4+4 layers, d 128
    "multi30k": Shape(
        flags=("--arch", "lr_drop_transformer_multi30k", *_TRANSLATION),
        vocabulary=9_712,
        source_length=14,
        target_length=14,
        spread=0.35,
        own_spread=0.15,
        max_tokens=4096,
        gpu_max_tokens=65_536,
    ),
    # 6+6 layers, d 512, FFN 1024
    "iwslt": Shape(
        flags=("--arch", "lr_drop_transformer_iwslt_de_en", *_TRANSLATION),
        vocabulary=10_000,
        source_length=22,
        target_length=22,
        spread=0.5,
        own_spread=0.15,
        max_tokens=4096,
        gpu_max_tokens=32_768,
    ),
    # Transformer-base: 6+6 layers, d 512, FFN 2048
    "wmt": Shape(
        flags=("--arch", "lr_drop_transformer_wmt_en_de", *_TRANSLATION),
        vocabulary=32_000,
        source_length=28,
        target_length=28,
        spread=0.5,
        own_spread=0.15,
        max_tokens=4096,
        gpu_max_tokens=16_384,
    ),
    # 2+2 of BART-large's 12+12 layers, d 1024, FFN 4096; articles cut at 1,024 tokens
    "summarization": Shape(
        flags=tuple(_BART_LAYERS.split()),
        vocabulary=50_264,
        source_length=1024,
        target_length=80,
        spread=0.0,
        own_spread=0.2,
        max_tokens=2048,
        gpu_max_tokens=32_768,
    ),
    # 2 of the 12 layers of transformer_lm_gpt, d 768, FFN 3072; samples of 512 tokens
    "language_model": Shape(
        flags=(
            *("--arch", "lr_drop_transformer_lm_gpt", "--share-decoder-input-output-embed"),
            *("--decoder-layers", "2", "--tokens-per-sample", "512"),
        ),
        vocabulary=50_264,
        source_length=512,
        target_length=512,
        spread=0.0,
        own_spread=0.0,
        max_tokens=1024,
        gpu_max_tokens=8192,
        task="language_modeling",
    ),
}


def dictionary(size: int) -> Dictionary:
    """A dictionary of this many entries, the special ones included."""
    words = Dictionary()
    for i in range(size - len(words)):
        words.add_symbol(f"w{i}")
    return words


def make_batches(shape: Shape, words: Dictionary, n_batches: int) -> list[dict[str, Any]]:
    """Fixed batches, made by fairseq's own batching from random sentences sorted by length."""
    generator = np.random.default_rng(1)
    common, own = generator.standard_normal((2, N_SENTENCES))
    source = _lengths(shape.source_length, shape.spread * common)
    target = _lengths(shape.target_length, shape.spread * common + shape.own_spread * own)
    sizes = np.maximum(source, target)
    # fairseq's order: by the source's length, then by the target's.
    order = np.lexsort((target, source))
    batches = data_utils.batch_by_size(
        order, sizes.__getitem__, num_tokens_vec=sizes[order], max_tokens=shape.max_tokens
    )

    def sentence(length: int) -> torch.Tensor:
        tokens = generator.integers(words.nspecial, len(words), length)
        tokens[-1] = words.eos()
        return torch.tensor(tokens)

    def collate(indices: list[int]) -> dict[str, Any]:
        rows: list[dict[str, Any]] = [
            {"id": i, "source": sentence(source[i]), "target": sentence(target[i])} for i in indices
        ]
        if shape.task == "language_modeling":
            rows = [{**row, "source": row["target"].roll(1)} for row in rows]
            collater = monolingual_dataset.collate
        else:
            collater = language_pair_dataset.collate
        batch: dict[str, Any] = collater(rows, words.pad(), words.eos())
        return batch

    # Evenly spaced among the lengths, without the shortest and the longest.
    chosen = np.linspace(0, len(batches) - 1, n_batches + 2).astype(int)[1:-1]
    return [collate(batches[k]) for k in chosen]


def _lengths(median: int, logarithms: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = (median * np.exp(logarithms)).round().clip(2, 1024).astype(int)
    return lengths
