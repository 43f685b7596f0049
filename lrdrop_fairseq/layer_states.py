"""What one forward of a model exposes to LR-Drop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class AttentionMap:
    """The attention probabilities of one module, where they are small enough to be formed.

    Attributes:
        probabilities: B x H x T x S, per head and before attention dropout.
        mask: additive, T x S or (B or 1) x 1 x (T or 1) x S, or None if every key is visible.
    """

    probabilities: Tensor
    mask: Tensor | None


@dataclass
class AttentionInputs:
    """What the attention map of one module follows from, where the map itself is too large.

    Attributes:
        query: B x H x T x D, projected, unscaled.
        key: B x H x S x D, projected.
        scale: factor of the scores.
        mask: as of :class:`AttentionMap`.
    """

    query: Tensor
    key: Tensor
    scale: float
    mask: Tensor | None


Attention = AttentionMap | AttentionInputs


@dataclass
class LayerStates:
    """What a function made of each layer that ran in one forward, in their order.

    The function of the hidden states gets a layer's output, T x B x C, fairseq's time-first
    layout; that of the attention an :data:`Attention`. Layers that LayerDrop left out are
    missing: both siamese passes share one forward, so both lack the same ones.
    """

    encoder_hidden: list[Any] = field(default_factory=list)
    decoder_hidden: list[Any] = field(default_factory=list)
    encoder_self_attention: list[Any] = field(default_factory=list)
    decoder_self_attention: list[Any] = field(default_factory=list)
    cross_attention: list[Any] = field(default_factory=list)
