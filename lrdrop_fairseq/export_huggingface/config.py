"""``config.json`` of an exported model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lrdrop_fairseq.checkpoints.export_options import ExportError
from lrdrop_fairseq.export_huggingface.model import CLASSES
from lrdrop_fairseq.import_encoder.families import ACTIVATIONS
from lrdrop_fairseq.import_encoder.parameters import FIRST_POSITION
from lrdrop_fairseq.import_encoder.vocabulary import BOS, EOS, PAD, Vocabulary

# By which --force knows a folder that it may replace.
EXPORTER = "lrdrop_fairseq"


def classifier_config(
    model: Any,
    head: str,
    original: Mapping[str, Any],
    vocabulary: Vocabulary,
    labels: Sequence[str] | None,
) -> dict[str, Any]:
    """``config.json``: sizes, dropout and epsilon are the trained model's, the rest ``original``'s.

    Args:
        labels: None for a regression.
    """
    kind, arguments, encoder = original["model_type"], model.args, model.encoder.sentence_encoder
    classifier = model.classification_heads[head]
    names = labels or [f"LABEL_{number}" for number in range(classifier.out_proj.out_features)]
    special = {f"{name}_token_id": vocabulary.special[symbol]
               for name, symbol in (("pad", PAD), ("bos", BOS), ("eos", EOS))
               if name == "pad" or kind != "bert"}  # fmt: skip
    positions = encoder.embed_positions.num_embeddings - (FIRST_POSITION if kind == "bert" else 0)
    return {
        "architectures": [CLASSES[kind][0]],
        "exported_by": EXPORTER,
        "model_type": kind,
        "problem_type": "regression" if labels is None else "single_label_classification",
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
        "vocab_size": original["vocab_size"],
        "type_vocab_size": original.get("type_vocab_size", 2),  # the default of all three
        "max_position_embeddings": positions,
        "num_hidden_layers": len(encoder.layers),
        "num_attention_heads": arguments.encoder_attention_heads,
        "hidden_size": arguments.encoder_embed_dim,
        "intermediate_size": arguments.encoder_ffn_embed_dim,
        "hidden_act": _activation(arguments.activation_fn, original.get("hidden_act")),
        "layer_norm_eps": _epsilon(encoder),
        "hidden_dropout_prob": arguments.dropout,
        "attention_probs_dropout_prob": arguments.attention_dropout,
        "classifier_dropout": arguments.pooler_dropout,
        "initializer_range": original.get("initializer_range", 0.02),
        **special,
    }


def _activation(ours: str, original: str | None) -> str:
    """Their name of fairseq's activation: the original's, if it is that."""
    if original is not None and ACTIVATIONS.get(original) == ours:
        return original
    for theirs, name in ACTIVATIONS.items():
        if name == ours:
            return theirs
    raise ExportError(
        f"option activation_fn is {ours!r}: only {', '.join(sorted(set(ACTIVATIONS.values())))} "
        "are known to be the same in Hugging Face's models"
    )


def _epsilon(encoder: Any) -> float:
    """The epsilon that all layer norms compute with, whatever the options say."""
    found = {module.eps for module in encoder.modules() if hasattr(module, "normalized_shape")}
    if len(found) > 1:
        raise ExportError(
            f"its layer norms have several epsilons ({', '.join(map(str, sorted(found)))}); "
            "Hugging Face's models have one"
        )
    return float(found.pop())
