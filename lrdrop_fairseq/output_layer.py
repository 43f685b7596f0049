"""From decoder features to output distributions: which way a model allows."""

from __future__ import annotations

from typing import Any

import torch
from fairseq.models import BaseFairseqModel, FairseqDecoder, FairseqLanguageModel
from fairseq.models.bart import BARTModel
from fairseq.models.transformer import TransformerDecoderBase, TransformerModelBase
from fairseq.modules import AdaptiveSoftmax
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lrdrop_fairseq.models.exposed import method_class
from lrdrop_fairseq.wrappers import unwrap


def output_projection(model: Any) -> nn.Linear | None:
    """The linear map from decoder features to logits; None if :func:`chunking_obstacle`."""
    return None if chunking_obstacle(model) else model.decoder.output_projection


def chunking_obstacle(model: Any) -> str | None:
    """Why the output loss cannot go from features to the loss by one matrix; None if it can.

    It can where the code of model and decoder, from ``forward`` to the probabilities, is known to
    be fairseq's or that of a class with ``projects_features = True``. Of any other nobody knows
    what it does between features and logits, or whether it can return features at all.

    Args:
        model: as fairseq's trainer passes it, wrapped or not.
    """
    *wrappers, inner = unwrap(model)
    decoder = unwrap(getattr(inner, "decoder", None))[-1]
    projection = getattr(decoder, "output_projection", None)
    if getattr(decoder, "adaptive_softmax", None) is not None:
        return "adaptive softmax"
    # An exact class: a subclass would compute something else.
    if type(projection) is not nn.Linear:
        return "no plain linear output projection"
    # Quantization noise is such a hook.
    if any(m._forward_pre_hooks or m._forward_hooks for m in (inner, decoder, projection)):
        return "a hook on the model, its decoder or its output projection"
    known = _projects_features(type(inner), _OF_MODEL)
    if not known or not _projects_features(type(decoder), _OF_DECODER):
        return "a model with a forward or an output of its own"
    # Such a wrapper takes a matrix that its forward does not use for one without a gradient.
    tied = projection.weight is getattr(getattr(decoder, "embed_tokens", None), "weight", None)
    if not tied and any(
        isinstance(wrapper, DistributedDataParallel) and wrapper.find_unused_parameters
        for wrapper in wrappers
    ):
        return "--find-unused-parameters with an output projection of its own"
    return None


# What lies between a model's input and its loss, and the classes whose logits are the projection of
# their features. extract_features is not among it: whatever it returns is what is projected.
_NORMALIZATION = ("get_normalized_probs", "get_normalized_probs_scriptable")
_OF_MODEL = ("forward", "get_targets", *_NORMALIZATION)
_OF_DECODER = ("forward", "output_layer", *_NORMALIZATION)
_KNOWN = (
    *(BARTModel, TransformerModelBase, FairseqLanguageModel, BaseFairseqModel),
    *(TransformerDecoderBase, FairseqDecoder),
)


def _projects_features(cls: Any, methods: tuple[str, ...]) -> bool:
    """Whether all the methods are fairseq's, or of a class that says so of them."""
    for method in methods:
        owner = method_class(cls, method)
        # What a class says holds for its own methods and those it inherits, not for a subclass's.
        said = cls.__mro__[: cls.__mro__.index(owner) + 1]
        if owner not in _KNOWN and not any(vars(c).get("projects_features") for c in said):
            return False
    return True


def adaptive_softmax(model: Any) -> AdaptiveSoftmax | None:
    """The adaptive softmax that makes a model's probabilities of its output; None if none does.

    Args:
        model: as fairseq's trainer passes it, wrapped or not.
    """
    inner = unwrap(model)[-1]
    decoder = unwrap(getattr(inner, "decoder", None))[-1]
    known = _projects_features(type(inner), _NORMALIZATION)
    if known and _projects_features(type(decoder), _NORMALIZATION):
        return getattr(decoder, "adaptive_softmax", None)
    return None


def adaptive_log_probabilities(adaptive: AdaptiveSoftmax, features: Tensor) -> Tensor:
    """Log-probabilities of all words by an adaptive softmax, with a graph: ... x C -> ... x V.

    fairseq's own ``get_log_prob`` writes into its results and has no backward, and leaves out the
    dropout of the features, with which ``adaptive_loss`` trains.
    """
    # fairseq's head of tied weights knows rows of features alone: ... x C -> R x C
    rows = adaptive.dropout_module(features.reshape(-1, features.size(-1)))
    n_frequent = adaptive.cutoff[0]
    # R x (frequent words + one class for each tail)
    head = torch.log_softmax(_wide(adaptive.head(rows)), dim=-1)
    pieces = [head[:, :n_frequent]]
    for i, tail in enumerate(adaptive.tail):
        word_in_class = torch.log_softmax(_wide(tail(rows)), dim=-1)
        pieces.append(head[:, n_frequent + i, None] + word_in_class)
    return torch.cat(pieces, dim=-1).view(*features.shape[:-1], -1)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
