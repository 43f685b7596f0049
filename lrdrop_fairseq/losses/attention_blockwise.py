"""The attention term without attention maps: memory grows with the length, not its square.

A block of queries at a time, the maps of both passes are computed, compared and thrown away; the
backward computes the block once more.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lrdrop_fairseq.losses.attention import (
    attention_probabilities,
    map_distance,
    query_sizes,
)
from lrdrop_fairseq.siamese import halves

# Probabilities of one block, both passes together. A GPU needs enough of them to fill its cores.
CPU_BLOCK_PROBABILITIES = 1 << 21
GPU_BLOCK_PROBABILITIES = 1 << 26


def blockwise_attention_loss(
    query: Tensor, key: Tensor, scale: float, padding_mask: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Same number as :func:`~lrdrop_fairseq.losses.attention.attention_map_loss`, from q and k.

    Args:
        query: 2B x H x T x D, projected, not yet scaled.
        key: 2B x H x S x D, projected.
        scale: factor of the scores.
        padding_mask: B x T, True where the *query* is padding.
        mask: additive, T x S or (2B or 1) x 1 x (T or 1) x S, the same in both passes.

    Returns:
        A scalar: the sum over non-padding queries (probabilities squared, no unit).
    """
    n_sentences, n_queries = padding_mask.shape
    n_heads, n_keys = key.shape[1:3]
    sizes = query_sizes(padding_mask, mask, n_heads, n_keys)
    per_query = 2 * n_heads * n_keys
    budget = CPU_BLOCK_PROBABILITIES if query.device.type == "cpu" else GPU_BLOCK_PROBABILITIES
    n_rows = min(n_queries, max(1, budget // per_query))
    # Whole sentences together where they are short.
    n_batch = min(n_sentences, max(1, budget // (per_query * n_queries)))

    # split: its backward joins the gradients of all blocks in one go.
    # 2B x H x T x D -> 2 x B x H x T x D -> blocks of 2 x b x H x t x D
    queries = torch.split(query.view(2, n_sentences, *query.shape[1:]), n_batch, dim=1)
    keys = torch.split(key.view(2, n_sentences, *key.shape[1:]), n_batch, dim=1)
    losses = []
    for i, (block_query, block_key) in enumerate(zip(queries, keys)):
        sentences = slice(i * n_batch, (i + 1) * n_batch)
        for j, rows in enumerate(torch.split(block_query, n_rows, dim=3)):
            block = (sentences, slice(j * n_rows, (j + 1) * n_rows))
            block_mask = _mask_of_block(mask, *block)
            arguments = (rows, block_key, scale, block_mask, sizes[block])
            losses.append(
                checkpoint(_block_loss, *arguments, use_reentrant=False, preserve_rng_state=False)
            )
    return torch.stack(losses).sum()


def _block_loss(
    query: Tensor, key: Tensor, scale: float, mask: Tensor | None, sizes: Tensor
) -> Tensor:
    """Loss of a block: query 2 x b x H x t x D, key 2 x b x H x S x D, sizes b x t."""
    first, second = attention_probabilities(query, key, scale, mask).unbind(0)
    return map_distance(first, second, sizes)


def _mask_of_block(mask: Tensor | None, sentences: slice, rows: slice) -> Tensor | None:
    """The mask of some sentences and queries, broadcastable to 2 x b x H x t x S."""
    if mask is None:
        return None
    # T x S -> 1 x 1 x T x S
    mask = mask[None, None] if mask.dim() == 2 else mask
    if mask.size(0) > 1:
        mask = halves(mask)[0][sentences]
    return mask[:, :, rows] if mask.size(2) > 1 else mask
