"""MHAR, multi-head attention regularization: the two passes must agree on every attention map.

This is the plain form, which needs the maps. :mod:`lrdrop_fairseq.losses.attention_blockwise`
gives the same numbers without them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lrdrop_fairseq.losses.float_product import float_product
from lrdrop_fairseq.siamese import halves

# What is added to a score that is not to count: -inf, or as of some of fairseq's layers -1e8 and
# -1e4. The exponential of less than this is 0 beside any score that counts.
FORBIDDEN = -1e3


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
    scores = float_product(query, key.transpose(-1, -2), scale)
    # Autocast would take a softmax of half precision as it came.
    with torch.autocast(query.device.type, enabled=False):
        if mask is not None:
            # A finite number and not -inf: exp() of it is exactly 0 beside a visible key.
            scores += mask.to(scores.dtype).clamp_min(torch.finfo(scores.dtype).min / 2)
        return scores.softmax(dim=-1)


def attention_map_distance(probabilities: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Squared distance of one module's attention maps in the two passes (LR-Drop paper, MHAR).

    .. math::
        \frac{1}{H\,|K_t|} \sum_{h} \sum_{s \in K_t} (A^1_{hts} - A^2_{hts})^2

    for each query t, where :math:`K_t` is the set of keys that it may see.

    Args:
        probabilities: 2B x H x T x S, see :func:`attention_probabilities`.
        mask: the module's additive mask of shape T x S or (2B or 1) x 1 x (T or 1) x S.

    Returns:
        B x T (probabilities squared, no unit), padding included.
    """
    first, second = halves(probabilities)
    return mean_distance(first, second, mask_of_one_pass(mask))


def mean_distance(first: Tensor, second: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over heads and visible keys of the squared difference: B x H x T x S -> B x T.

    Args:
        first, second: the two passes' maps.
        mask: see :func:`mask_of_one_pass`.
    """
    # Keys that a query may not see have probability 0 in both passes: they add nothing.
    squared = F.mse_loss(first, second, reduction="none").sum(dim=(1, 3))
    return squared / (first.size(1) * visible_keys(mask, first.size(-1)))


def mask_of_one_pass(mask: Tensor | None) -> Tensor | None:
    """T x S or (2B or 1) x 1 x (T or 1) x S -> (B or 1) x 1 x (T or 1) x S."""
    if mask is None:
        return None
    mask = mask[None, None] if mask.dim() == 2 else mask
    return mask if mask.size(0) == 1 else halves(mask)[0]


def visible_keys(mask: Tensor | None, n_keys: int) -> Tensor | int:
    """Number of keys that each query may see, at least 1: (B or 1) x (T or 1).

    Args:
        mask: see :func:`mask_of_one_pass`; None if all ``n_keys`` are visible.
        n_keys: S.
    """
    if mask is None:
        return n_keys
    return (mask > FORBIDDEN).sum(dim=-1)[:, 0].clamp_min(1)
