"""The attention term without attention maps: memory grows with the length, not its square.

A block of queries at a time, the maps of both passes are computed, compared and thrown away; the
backward computes the block once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lrdrop_fairseq.losses.attention import (
    attention_probabilities,
    mask_of_one_pass,
    mean_distance,
    visible_keys,
)
from lrdrop_fairseq.losses.float_product import float_product

# Probabilities of one block, both passes together. A GPU needs enough of them to fill its cores.
CPU_BLOCK_PROBABILITIES = 1 << 21
GPU_BLOCK_PROBABILITIES = 1 << 26


def blockwise_attention_distance(
    query: Tensor, key: Tensor, scale: float, mask: Tensor | None = None
) -> Tensor:
    """:func:`~lrdrop_fairseq.losses.attention.attention_map_distance`, from queries and keys.

    Args:
        query: 2B x H x T x D, projected, not yet scaled.
        key: 2B x H x S x D, projected.
        scale: factor of the scores.
        mask: additive, T x S or (2B or 1) x 1 x (T or 1) x S, the same in both passes.

    Returns:
        B x T (probabilities squared, no unit), padding included.
    """
    # 2B x H x T x D -> 2 x B x H x T x D
    queries = query.view(2, -1, *query.shape[1:])
    keys = key.view(2, -1, *key.shape[1:])
    apply: Any = _BlockwiseDistance.apply
    return apply(queries, keys, scale, mask_of_one_pass(mask))  # type: ignore[no-any-return]


class _BlockwiseDistance(torch.autograd.Function):
    """How the blocks are run; what is computed on one is ``mean_distance`` and its gradient."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, scale: float, mask: Any) -> Tensor:
        ctx.save_for_backward(queries, keys, mask)
        ctx.scale = scale
        dtype = torch.float64 if queries.dtype == torch.float64 else torch.float32
        distances = queries.new_empty(queries.size(1), queries.size(3), dtype=dtype)
        for sentences, rows in _blocks(queries, keys.size(3)):
            part = _part(mask, sentences, rows)
            block = queries[:, sentences, :, rows]
            first, second = attention_probabilities(block, keys[:, sentences], scale, part)
            distances[sentences, rows] = mean_distance(first, second, part)
        return distances

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, mask = ctx.saved_tensors
        to_queries, to_keys = (torch.zeros_like(x, dtype=grad.dtype) for x in (queries, keys))
        for sentences, rows in _blocks(queries, keys.size(3)):
            part = _part(mask, sentences, rows)
            block, seen = queries[:, sentences, :, rows], keys[:, sentences]
            maps = attention_probabilities(block, seen, ctx.scale, part)
            to_scores = _gradient_of_scores(maps, grad[sentences, rows], part)
            to_queries[:, sentences, :, rows] = float_product(to_scores, seen, ctx.scale)
            to_keys[:, sentences] += float_product(to_scores.transpose(-1, -2), block, ctx.scale)
        # The gradients of the second map are those of the first with the other sign.
        to_queries[1].neg_()
        to_keys[1].neg_()
        return to_queries.to(queries.dtype), to_keys.to(keys.dtype), None, None


def _gradient_of_scores(maps: Tensor, grad: Tensor, mask: Tensor | None) -> Tensor:
    r"""Of ``mean_distance``, with respect to the scores; of the second pass with the sign turned.

    With G the gradient of a map A, that of its scores is :math:`A (G - \sum_s A_s G_s)`.

    Args:
        maps: 2 x b x H x t x S; overwritten.
        grad: b x t, of the distances.
        mask: see ``mask_of_one_pass``.
    """
    n_heads, n_keys = maps.size(2), maps.size(-1)
    # b x t -> b x 1 x t x 1
    factor = (2 * grad / (n_heads * visible_keys(mask, n_keys)))[:, None, :, None]
    product = maps * (maps[0] - maps[1]).mul_(factor)
    return product.sub_(maps.mul_(product.sum(dim=-1, keepdim=True)))


def _blocks(queries: Tensor, n_keys: int) -> Iterator[tuple[slice, slice]]:
    """Sentences and queries of each block: whole sentences together where they are short."""
    _, batch, heads, length, _ = queries.shape
    budget = CPU_BLOCK_PROBABILITIES if queries.device.type == "cpu" else GPU_BLOCK_PROBABILITIES
    n_queries = max(1, budget // (2 * heads * n_keys))
    n_sentences, n_rows = min(batch, max(1, n_queries // length)), min(length, n_queries)
    for first in range(0, batch, n_sentences):
        for row in range(0, length, n_rows):
            yield slice(first, first + n_sentences), slice(row, row + n_rows)


def _part(mask: Tensor | None, sentences: slice, rows: slice) -> Tensor | None:
    """Of a block; what is the same for all sentences or queries as it is."""
    if mask is None:
        return None
    mask = mask if mask.size(0) == 1 else mask[sentences]
    return mask if mask.size(2) == 1 else mask[:, :, rows]
