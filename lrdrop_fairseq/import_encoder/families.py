"""What the kinds of models are called here and there, and their sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrdrop_fairseq.import_encoder.errors import ImportingError

ENCODERS = ("bert", "roberta", "xlm-roberta")
ENCODER_DECODERS = ("bart", "mbart")

# "gelu" is the exact one in both; fairseq has one of its approximations, by tanh.
ACTIVATIONS = {
    "gelu": "gelu", "relu": "relu", "gelu_new": "gelu_accurate",
    "gelu_pytorch_tanh": "gelu_accurate", "gelu_fast": "gelu_accurate",
}  # fmt: skip


def encoder_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of fairseq's ``roberta`` for a BERT or RoBERTa.

    Raises:
        ImportingError: fairseq has no such model, or the config lacks a size.
    """
    positions = config.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise ImportingError(
            f"position_embedding_type {positions!r}: fairseq's RoBERTa has absolute positions only"
        )
    for name in ("is_decoder", "add_cross_attention"):
        if config.get(name):
            raise ImportingError(f"{name}: only encoders become fairseq's RoBERTa")
    dropout = config.get("hidden_dropout_prob", 0.1)
    head_dropout = config.get("classifier_dropout")
    return {
        "encoder_layers": need(config, "num_hidden_layers"),
        "encoder_embed_dim": need(config, "hidden_size"),
        "encoder_ffn_embed_dim": need(config, "intermediate_size"),
        "encoder_attention_heads": need(config, "num_attention_heads"),
        "max_positions": need(config, "max_position_embeddings") - unused_positions(config),
        "activation_fn": activation(config, "hidden_act"),
        "pooler_activation_fn": "tanh",
        "dropout": dropout,
        "attention_dropout": config.get("attention_probs_dropout_prob", 0.1),
        "activation_dropout": 0.0,
        "pooler_dropout": dropout if head_dropout is None else head_dropout,
        "layer_norm_epsilon": config.get("layer_norm_eps", 1e-12),
        "untie_weights_roberta": not config.get("tie_word_embeddings", True),
    }


def unused_positions(config: Mapping[str, Any]) -> int:
    """Rows of an encoder's positions before the first; RoBERTa's is after that of the padding."""
    padding = config.get("pad_token_id")
    return 0 if config["model_type"] == "bert" else 1 + (1 if padding is None else padding)


def bart_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of fairseq's ``bart`` for a BART or mBART; ImportingError as above."""
    if not config.get("tie_word_embeddings", True):
        raise ImportingError("tie_word_embeddings false: fairseq's BART shares its embeddings")
    width, before = need(config, "d_model"), config["model_type"] == "mbart"
    options: dict[str, Any] = {}
    for side in ("encoder", "decoder"):
        options |= {
            f"{side}_layers": need(config, f"{side}_layers"),
            f"{side}_embed_dim": width,
            f"{side}_ffn_embed_dim": need(config, f"{side}_ffn_dim"),
            f"{side}_attention_heads": need(config, f"{side}_attention_heads"),
            f"{side}_normalize_before": before,
            f"{side}_learned_pos": True,
        }
    length = need(config, "max_position_embeddings")
    return options | {
        "max_source_positions": length,
        "max_target_positions": length,
        "activation_fn": activation(config, "activation_function"),
        "pooler_activation_fn": "tanh",
        "dropout": config.get("dropout", 0.1),
        "attention_dropout": config.get("attention_dropout", 0.0),
        "activation_dropout": config.get("activation_dropout", 0.0),
        "pooler_dropout": config.get("classifier_dropout", 0.0),
        "no_scale_embedding": not config.get("scale_embedding", False),
        "layernorm_embedding": True,
        "share_all_embeddings": True,
        "share_decoder_input_output_embed": True,
    }


def activation(config: Mapping[str, Any], key: str) -> str:
    """fairseq's name of the activation; ImportingError where it has none."""
    name = config.get(key, "gelu")
    if name not in ACTIVATIONS:
        raise ImportingError(
            f"{key} {name!r}: fairseq has none; it has those that are called "
            f"{', '.join(ACTIVATIONS)} there"
        )
    return ACTIVATIONS[name]


def need(config: Mapping[str, Any], key: str) -> int:
    """A size in the config; ImportingError where it has none."""
    value = config.get(key)
    if not isinstance(value, int) or value < 1:
        raise ImportingError(f"config.json has {key} {value!r}, where a size was expected")
    return value
