"""The hidden and the attention term of a whole model, from what its layers exposed.

Each layer's distance is computed while the model runs, and not afterwards from recorded states:
autograd then goes back through it when it comes to that layer, instead of through the distances
of all layers first, whose gradients would wait side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lrdrop_fairseq.layer_states import Attention, AttentionMap, LayerStates
from lrdrop_fairseq.losses.attention import attention_map_distance
from lrdrop_fairseq.losses.attention_blockwise import blockwise_attention_distance


def hidden_term(
    states: LayerStates,
    source_padding: Tensor,
    target_padding: Tensor,
    mean_of_tokens: bool = False,
) -> Tensor:
    """HSR: mean over all encoder and decoder layers of the distances, summed over tokens.

    Args:
        states: of one forward on ``[x; x]``, which exposed ``hidden_state_distance``.
        source_padding: B x S, True at padding.
        target_padding: B x T, True at padding; of no account for a model without decoder.
        mean_of_tokens: a sentence counts with the mean over its tokens, for tasks that count
            sentences.

    Returns:
        A scalar, summed over non-padding tokens, or over sentences if ``mean_of_tokens``;
        0 if LayerDrop left out every layer.
    """
    layers = [(distance, source_padding) for distance in states.encoder_hidden]
    layers += [(distance, target_padding) for distance in states.decoder_hidden]
    return _mean_of_sums(layers, source_padding, mean_of_tokens)


def attention_term(
    states: LayerStates,
    source_padding: Tensor,
    target_padding: Tensor,
    mean_of_tokens: bool = False,
) -> Tensor:
    """MHAR: mean over all attention modules of the distances, summed over queries.

    Arguments and result are those of :func:`hidden_term`, with :func:`attention_distance` exposed.
    """
    modules = [(distance, source_padding) for distance in states.encoder_self_attention]
    modules += [(distance, target_padding) for distance in states.decoder_self_attention]
    modules += [(distance, target_padding) for distance in states.cross_attention]
    return _mean_of_sums(modules, source_padding, mean_of_tokens)


def _mean_of_sums(
    parts: list[tuple[Tensor, Tensor]], device_of: Tensor, mean_of_tokens: bool
) -> Tensor:
    """Mean of the sums of B x T distances over what is no padding."""
    if not parts:
        return torch.zeros((), device=device_of.device)
    sums = []
    for distance, padding in parts:
        kept = distance.masked_fill(padding, 0.0)
        if mean_of_tokens:
            # At least 1: a sentence without tokens adds 0 and not NaN.
            kept = kept / padding.logical_not().sum(dim=1, keepdim=True).clamp_min(1)
        sums.append(kept.sum())
    return torch.stack(sums).mean()


def attention_distance(attention: Attention) -> Tensor:
    """Squared distance of one module's maps in the two passes: B x T."""
    if isinstance(attention, AttentionMap):
        return attention_map_distance(attention.probabilities, attention.mask)
    inputs = (attention.query, attention.key, attention.scale, attention.mask)
    return blockwise_attention_distance(*inputs)
