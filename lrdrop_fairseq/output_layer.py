"""From decoder features to output distributions: which way a model allows."""

from __future__ import annotations

from typing import Any

import torch
from fairseq.models.transformer import TransformerDecoderBase
from fairseq.modules import AdaptiveSoftmax
from torch import Tensor, nn


def output_projection(model: Any) -> nn.Linear | None:
    """The linear map from decoder features to logits, or None if there is no such single map.

    None for adaptive softmax, for a projection under quantization noise or of a class of its own,
    for a decoder with another ``output_layer``, and for parameters that are sharded over workers.
    """
    decoder = getattr(model, "decoder", None)
    projection = getattr(decoder, "output_projection", None)
    plain = (
        type(projection) is nn.Linear
        and not projection._forward_pre_hooks
        and getattr(decoder, "adaptive_softmax", None) is None
        and getattr(type(decoder), "output_layer", None) is TransformerDecoderBase.output_layer
        # Sharded: a slice of the matrix or of the flattened parameters of the whole model.
        and projection.weight.shape == (projection.out_features, projection.in_features)
    )
    return projection if plain else None


def log_probabilities(model: Any, net_output: Any) -> Tensor:
    """Log-probabilities of all words, 2B x T x V, from the model's output."""
    adaptive = getattr(getattr(model, "decoder", None), "adaptive_softmax", None)
    if adaptive is not None:
        return adaptive_log_probabilities(adaptive, net_output[0])
    log_probs: Tensor = model.get_normalized_probs(net_output, log_probs=True)
    return log_probs


def adaptive_log_probabilities(adaptive: AdaptiveSoftmax, features: Tensor) -> Tensor:
    """Log-probabilities of an adaptive softmax, with a graph.

    fairseq's own ``get_log_prob`` writes into its results and has no backward.
    """
    n_frequent = adaptive.cutoff[0]
    # ... x C -> ... x (frequent words + one class for each tail)
    head = torch.log_softmax(adaptive.head(features).float(), dim=-1)
    pieces = [head[..., :n_frequent]]
    for i, tail in enumerate(adaptive.tail):
        word_in_class = torch.log_softmax(tail(features).float(), dim=-1)
        pieces.append(head[..., n_frequent + i, None] + word_in_class)
    return torch.cat(pieces, dim=-1)
