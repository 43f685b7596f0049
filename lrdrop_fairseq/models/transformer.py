"""fairseq's Transformer with exposed layer states: same parameters, same names, same results."""

from __future__ import annotations

from typing import Any

from fairseq.models import register_model, register_model_architecture
from fairseq.models.transformer import (
    TransformerModel,
    base_architecture,
    transformer_iwslt_de_en,
    transformer_vaswani_wmt_en_de_big,
    transformer_wmt_en_de,
)

from lrdrop_fairseq.models.exposed import ExposesLayerStates


@register_model("lr_drop_transformer")
class LRDropTransformer(ExposesLayerStates, TransformerModel):
    """``transformer`` for LR-Drop. Checkpoints travel both ways between the two."""


for _name, _architecture in {
    "lr_drop_transformer": base_architecture,
    "lr_drop_transformer_iwslt_de_en": transformer_iwslt_de_en,
    "lr_drop_transformer_wmt_en_de": transformer_wmt_en_de,
    "lr_drop_transformer_vaswani_wmt_en_de_big": transformer_vaswani_wmt_en_de_big,
}.items():
    register_model_architecture("lr_drop_transformer", _name)(_architecture)


@register_model_architecture("lr_drop_transformer", "lr_drop_transformer_multi30k")
def lr_drop_transformer_multi30k(args: Any) -> None:
    """The Transformer-Tiny of Wu et al. (ACL 2021) for Multi30k: 4+4 layers, d 128, FFN 256."""
    args.encoder_embed_dim = getattr(args, "encoder_embed_dim", 128)
    args.encoder_ffn_embed_dim = getattr(args, "encoder_ffn_embed_dim", 256)
    args.encoder_attention_heads = getattr(args, "encoder_attention_heads", 4)
    args.encoder_layers = getattr(args, "encoder_layers", 4)
    args.decoder_attention_heads = getattr(args, "decoder_attention_heads", 4)
    args.decoder_layers = getattr(args, "decoder_layers", 4)
    base_architecture(args)
