"""The hidden and the attention term of a whole model, from the states that its layers exposed."""

from __future__ import annotations

import torch
from torch import Tensor

from lrdrop_fairseq.layer_states import Attention, AttentionMap, LayerStates
from lrdrop_fairseq.losses.attention import attention_map_loss
from lrdrop_fairseq.losses.attention_blockwise import blockwise_attention_loss
from lrdrop_fairseq.losses.hidden import hidden_state_loss


def hidden_term(states: LayerStates, source_padding: Tensor, target_padding: Tensor) -> Tensor:
    """HSR: mean over all encoder and decoder layers of :func:`hidden_state_loss`.

    Args:
        states: of one forward on ``[x; x]``.
        source_padding: B x S, True at padding.
        target_padding: B x T, True at padding.

    Returns:
        A scalar, summed over tokens; 0 if LayerDrop left out every layer.
    """
    layers = [(state, source_padding) for state in states.encoder_hidden]
    layers += [(state, target_padding) for state in states.decoder_hidden]
    return _mean([hidden_state_loss(*layer) for layer in layers], source_padding)


def attention_term(states: LayerStates, source_padding: Tensor, target_padding: Tensor) -> Tensor:
    """MHAR: mean over all attention modules of :func:`attention_map_loss`.

    Where queries and keys were recorded instead of the map, its blockwise twin. Arguments and
    result are those of :func:`hidden_term`; the tokens summed over are the queries.
    """
    modules: list[tuple[Attention, Tensor]] = []
    modules += [(inputs, source_padding) for inputs in states.encoder_self_attention]
    modules += [(inputs, target_padding) for inputs in states.decoder_self_attention]
    modules += [(inputs, target_padding) for inputs in states.cross_attention]
    return _mean([_module_loss(*module) for module in modules], source_padding)


def _module_loss(attention: Attention, query_padding: Tensor) -> Tensor:
    if isinstance(attention, AttentionMap):
        return attention_map_loss(attention.probabilities, query_padding, attention.mask)
    inputs = (attention.query, attention.key, attention.scale)
    return blockwise_attention_loss(*inputs, query_padding, attention.mask)


def _mean(losses: list[Tensor], device_of: Tensor) -> Tensor:
    if not losses:
        return torch.zeros((), device=device_of.device)
    return torch.stack(losses).mean()
