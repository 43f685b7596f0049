"""What two passes of a model differ by, at each place: per token, without weights or gradients."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lrdrop_fairseq.layer_states import Attention, AttentionMap
from lrdrop_fairseq.losses.attention import attention_probabilities


def hidden_distance(first: Tensor, second: Tensor) -> Tensor:
    r"""Squared distance of the states relative to their mean squared length.

    .. math:: \frac{|h^1 - h^2|^2}{\tfrac12 (|h^1|^2 + |h^2|^2)}

    0 where they are equal, 2 where they are orthogonal, 4 where they are opposite.

    Args:
        first, second: T x B x C.

    Returns:
        B x T, no unit.
    """
    first, second = first.double(), second.double()
    size = (first.square().sum(dim=-1) + second.square().sum(dim=-1)) / 2
    return ((first - second).square().sum(dim=-1) / size.clamp_min(1e-30)).t()


def attention_distance(first: Tensor, second: Tensor) -> Tensor:
    r"""Squared distance of the attention distributions, mean over heads.

    .. math:: \frac1H \sum_h \sum_s (A^1_{hts} - A^2_{hts})^2

    between 0 and 2, whatever the number of keys.

    Args:
        first, second: probabilities, B x H x T x S.

    Returns:
        B x T, no unit.
    """
    return (first.double() - second.double()).square().sum(dim=-1).mean(dim=1)


def probabilities(attention: Attention) -> Tensor:
    """The maps of one module, B x H x T x S, before dropout."""
    if isinstance(attention, AttentionMap):
        return attention.probabilities
    return attention_probabilities(attention.query, attention.key, attention.scale, attention.mask)


def divergence_bits(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q), ... x V -> ..., in bits."""
    log_p, log_q = log_p.double(), log_q.double()
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1) / math.log(2)


def log_probabilities(logits: Tensor) -> Tensor:
    """In float32, as everything that is compared here."""
    return torch.log_softmax(logits.float(), dim=-1)
