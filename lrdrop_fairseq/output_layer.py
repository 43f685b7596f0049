"""From decoder features to output distributions: which way a model allows."""

from __future__ import annotations

from typing import Any

import torch
from fairseq.models import FairseqDecoder
from fairseq.models.transformer import TransformerDecoderBase, TransformerModelBase
from fairseq.modules import AdaptiveSoftmax
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lrdrop_fairseq.wrappers import unwrap


def output_projection(model: Any) -> nn.Linear | None:
    """The linear map from decoder features to logits; None if :func:`chunking_obstacle`."""
    return None if chunking_obstacle(model) else model.decoder.output_projection


def chunking_obstacle(model: Any) -> str | None:
    """Why the output loss cannot go from features to the loss by one matrix; None if it can.

    Args:
        model: as fairseq's trainer passes it, wrapped or not.
    """
    *wrappers, inner = unwrap(model)
    decoder = unwrap(getattr(inner, "decoder", None))[-1]
    projection = getattr(decoder, "output_projection", None)
    if getattr(decoder, "adaptive_softmax", None) is not None:
        return "adaptive softmax"
    # An exact class and no hooks: a subclass or quantization noise would compute something else.
    if type(projection) is not nn.Linear or projection._forward_pre_hooks:
        return "no plain linear output projection"
    overridden = (
        _overrides(decoder, TransformerDecoderBase, "forward"),
        _overrides(decoder, TransformerDecoderBase, "output_layer"),
        _overrides(decoder, FairseqDecoder, "get_normalized_probs"),
        _overrides(inner, TransformerModelBase, "get_normalized_probs"),
    )
    if any(overridden):
        return "a model with an output of its own"
    # Such a wrapper takes a matrix that its forward does not use for one without a gradient.
    tied = projection.weight is getattr(getattr(decoder, "embed_tokens", None), "weight", None)
    if not tied and any(
        isinstance(wrapper, DistributedDataParallel) and wrapper.find_unused_parameters
        for wrapper in wrappers
    ):
        return "--find-unused-parameters with an output projection of its own"
    return None


def _overrides(module: Any, base: type, method: str) -> bool:
    """Whether the class of ``module`` has another ``method`` than fairseq's ``base``."""
    return getattr(type(module), method, None) is not getattr(base, method)


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
