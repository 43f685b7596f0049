"""The attention term without attention maps: memory grows with the length, not its square.

A block of queries at a time, the maps of both passes are computed, compared and thrown away; the
backward computes the block once more.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lrdrop_fairseq.losses.attention import attention_probabilities, mask_of_one_pass, mean_distance

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
    mask = mask_of_one_pass(mask)
    n_sentences, n_rows = _block_size(queries, key.size(2))
    distances = []
    # split: its backward joins the gradients of all blocks in one go.
    key_blocks = torch.split(keys, n_sentences, dim=1)
    for i, sentences in enumerate(torch.split(queries, n_sentences, dim=1)):
        rows_of_sentences = [
            checkpoint(
                _block_distance,
                rows,
                key_blocks[i],
                scale,
                _part(_part(mask, 0, i, n_sentences), 2, j, n_rows),
                use_reentrant=False,
                preserve_rng_state=False,
            )
            for j, rows in enumerate(torch.split(sentences, n_rows, dim=3))
        ]
        distances.append(torch.cat(rows_of_sentences, dim=1))
    return torch.cat(distances)


def _block_distance(query: Tensor, key: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """2 x b x H x t x D and 2 x b x H x S x D -> b x t."""
    first, second = attention_probabilities(query, key, scale, mask).unbind(0)
    return mean_distance(first, second, mask)


def _block_size(queries: Tensor, n_keys: int) -> tuple[int, int]:
    """Sentences and queries of a block: whole sentences together where they are short."""
    _, batch, heads, length, _ = queries.shape
    budget = CPU_BLOCK_PROBABILITIES if queries.device.type == "cpu" else GPU_BLOCK_PROBABILITIES
    n_queries = max(1, budget // (2 * heads * n_keys))
    return min(batch, max(1, n_queries // length)), min(length, n_queries)


def _part(mask: Tensor | None, dim: int, index: int, size: int) -> Tensor | None:
    """The ``index``-th part of ``size`` along ``dim``; all where the mask is the same for all."""
    if mask is None or mask.size(dim) == 1:
        return mask
    return mask.narrow(dim, index * size, min(size, mask.size(dim) - index * size))
