"""MHAR, multi-head attention regularization: the two passes must agree on every attention map.

This is the plain form, which needs the maps. :mod:`lrdrop_fairseq.losses.attention_blockwise`
gives the same numbers without them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lrdrop_fairseq.siamese import halves


def attention_probabilities(
    query: Tensor, key: Tensor, scale: float, mask: Tensor | None = None
) -> Tensor:
    r"""Softmax probabilities of one attention module, per head and before attention dropout.

    .. math:: A = \operatorname{softmax}(\text{scale} \cdot Q K^\top + \text{mask})

    Args:
        query: B x H x T x D, projected, not yet scaled.
        key: B x H x S x D, projected.
        scale: factor of the scores, usually D ** -0.5.
        mask: additive, broadcastable to B x H x T x S; -inf where a query must not see a key.

    Returns:
        B x H x T x S in float32 (float64 for float64 input). A query that may see no key at all
        (padding on the left of a causal module) gets the uniform distribution instead of NaN.
    """
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    # Autocast would round the scores to half precision again.
    with torch.autocast(query.device.type, enabled=False):
        scores = torch.matmul(query.to(dtype) * scale, key.to(dtype).transpose(-1, -2))
        if mask is not None:
            # A finite number and not -inf: exp() of it is exactly 0 beside a visible key.
            scores += mask.to(dtype).clamp_min(torch.finfo(dtype).min / 2)
        return scores.softmax(dim=-1)


def attention_map_loss(
    probabilities: Tensor, padding_mask: Tensor, mask: Tensor | None = None
) -> Tensor:
    r"""Squared distance of one module's attention maps in the two passes (LR-Drop paper, MHAR).

    .. math::
        \sum_{t\ \text{not padding}} \frac{1}{H\,|K_t|} \sum_{h} \sum_{s \in K_t}
        (A^1_{hts} - A^2_{hts})^2

    where :math:`K_t` is the set of keys that query :math:`t` may see.

    Args:
        probabilities: 2B x H x T x S, see :func:`attention_probabilities`.
        padding_mask: B x T, True where the *query* is padding.
        mask: the module's additive mask of shape T x S or (2B or 1) x 1 x (T or 1) x S.

    Returns:
        A scalar: the sum over non-padding queries (probabilities squared, no unit).
    """
    _, n_heads, _, n_keys = probabilities.shape
    sizes = query_sizes(padding_mask, mask, n_heads, n_keys)
    return map_distance(*halves(probabilities), sizes)


def map_distance(first: Tensor, second: Tensor, sizes: Tensor) -> Tensor:
    """Squared distance of two passes' maps, B x H x T x S, each query's divided by its size."""
    # Keys that a query may not see have probability 0 in both passes: they add nothing.
    # B x H x T x S -> B x T
    squared = F.mse_loss(first, second, reduction="none").sum(dim=(1, 3))
    return (squared / sizes).sum()


def query_sizes(padding_mask: Tensor, mask: Tensor | None, n_heads: int, n_keys: int) -> Tensor:
    """Heads times visible keys of each query, what its mean runs over; infinite at padding: B x T.

    Arguments as of :func:`attention_map_loss`, with the numbers of heads H and of keys S.
    """
    sizes = torch.full_like(padding_mask, n_heads, dtype=torch.float32)
    return (sizes * visible_keys(mask, n_keys)).masked_fill(padding_mask, float("inf"))


def visible_keys(mask: Tensor | None, n_keys: int) -> Tensor | int:
    """Number of keys that each query of pass 1 may see, at least 1: (B or 1) x (T or 1)."""
    if mask is None:
        return n_keys
    # (2B or 1) x 1 x (T or 1) x S -> (2B or 1) x (T or 1)
    mask = mask[None, None] if mask.dim() == 2 else mask
    counts = (mask != float("-inf")).sum(dim=-1)[:, 0].clamp_min(1)
    return counts if counts.size(0) == 1 else halves(counts)[0]
