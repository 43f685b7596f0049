"""HSR, hidden states regularization: the two passes must agree on every layer's output."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from lrdrop_fairseq.siamese import halves


def hidden_state_distance(states: Tensor) -> Tensor:
    r"""Squared distance of one layer's outputs in the two passes (LR-Drop paper, HSR).

    .. math:: \frac{1}{C} \sum_{c} (h^1_{tc} - h^2_{tc})^2

    for each token t, where :math:`h^1, h^2` are the layer's output states of pass 1 and pass 2;
    gradients flow into both. Computed in float32 (or float64 if the states are).

    Args:
        states: T x 2B x C, fairseq's time-first layout; the batch axis holds both passes.

    Returns:
        B x T, in squared units of the states, padding included: what a token's distance counts
        for is the caller's affair.
    """
    # T x 2B x C -> two of T x B x C
    first, second = (_at_least_float32(half) for half in halves(states, dim=1))
    # mse_loss keeps only its inputs for the backward, unlike (a - b) ** 2, which keeps a - b.
    # T x B x C -> B x T
    return F.mse_loss(first, second, reduction="none").mean(dim=-1).t()


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.element_size() < 4 else tensor
