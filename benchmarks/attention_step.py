"""One step of one layer with its attention term, dense or blockwise."""

from __future__ import annotations

from unittest import mock

import torch
from fairseq.models.transformer import TransformerConfig
from fairseq.modules.transformer_layer import TransformerEncoderLayerBase

from lrdrop_fairseq import attention
from lrdrop_fairseq.attention import ExposedAttention, listening
from lrdrop_fairseq.layer_states import LayerStates
from lrdrop_fairseq.layer_terms import attention_distance, attention_term

# name: the largest map that is formed
FORMS = {"dense": float("inf"), "blockwise": 0}


class Step:
    """Forward, attention term and backward of one layer."""

    def __init__(self, form: str, length: int) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(1)
        config = TransformerConfig(dropout=0.1)
        config.encoder.embed_dim, config.encoder.ffn_embed_dim = 1024, 4096
        config.encoder.attention_heads = 16
        self.layer = TransformerEncoderLayerBase(config).to(self.device)
        ExposedAttention.adopt(self.layer.self_attn)
        self.inputs = torch.randn(length, 2, 1024, device=self.device, requires_grad=True)
        self.padding = torch.zeros(1, length, dtype=torch.bool, device=self.device)
        self.largest_map = FORMS[form]

    def run(self) -> None:
        states = LayerStates()
        exposed = listening(self.layer.self_attn, attention_distance, states.encoder_self_attention)
        with exposed, mock.patch.object(attention, "LARGEST_MAP", self.largest_map):
            output = self.layer(self.inputs, None)
        term = attention_term(states, self.padding, self.padding)
        (output.square().mean() + term).backward()
        if self.device == "cuda":
            torch.cuda.synchronize()
