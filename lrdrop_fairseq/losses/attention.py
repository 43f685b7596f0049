"""MHAR, multi-head attention regularization: the two passes must agree on every attention map."""

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
            scores = scores + mask.to(dtype).clamp_min(torch.finfo(dtype).min / 2)
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
    first, second = halves(probabilities)
    # Keys that a query may not see have probability 0 in both passes: they add nothing.
    # B x H x T x S -> B x T
    squared = F.mse_loss(first, second, reduction="none").sum(dim=(1, 3))
    per_query = squared / (first.size(1) * visible_keys(probabilities, mask))
    return per_query.masked_fill(padding_mask, 0.0).sum()


def visible_keys(probabilities: Tensor, mask: Tensor | None) -> Tensor:
    """Number of keys that each query of pass 1 may see, at least 1: (B or 1) x (T or 1)."""
    if mask is None:
        return probabilities.new_full((1, 1), probabilities.size(-1))
    # (2B or 1) x 1 x (T or 1) x S -> (2B or 1) x (T or 1)
    mask = mask[None, None] if mask.dim() == 2 else mask
    counts = (mask != float("-inf")).sum(dim=-1)[:, 0].clamp_min(1)
    return counts if counts.size(0) == 1 else halves(counts)[0]
