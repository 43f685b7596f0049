"""HSR, hidden states regularization: the two passes must agree on every layer's output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

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
    apply: Any = _MeanSquaredDifference.apply
    distance: Tensor = apply(states)
    return distance.t()  # T x B -> B x T


class _MeanSquaredDifference(torch.autograd.Function):
    """T x 2B x C -> T x B. Keeps the states alone, which autograd keeps for the next layer anyway.

    Written as a formula it would keep the difference or, in half precision, a copy of the states in
    float32.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor) -> Tensor:
        ctx.save_for_backward(states)
        return _difference(states).square_().mean(dim=-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (states,) = ctx.saved_tensors
        # T x B x C; of the second pass the same with the other sign
        to_first = _difference(states).mul_(grad.unsqueeze(-1) * (2 / states.size(-1)))
        to_first = to_first.to(states.dtype)
        return torch.cat([to_first, -to_first], dim=1)


def _difference(states: Tensor) -> Tensor:
    """T x 2B x C -> T x B x C, in float32 at least."""
    dtype = torch.promote_types(states.dtype, torch.float32)
    first, second = halves(states, dim=1)
    return first.to(dtype) - second.to(dtype)
