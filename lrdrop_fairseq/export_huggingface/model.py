"""A fine-tuned model of fairseq, and its parameters under Hugging Face's names.

Letters: V rows of the tokenizer, N of them in fairseq's dictionary, P positions, C features.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Any

import torch
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from fairseq.models.roberta import RobertaModel
from torch import Tensor

from lrdrop_fairseq.checkpoints.export_options import ExportError
from lrdrop_fairseq.import_encoder.parameters import ENCODER_NAMES, FIRST_POSITION
from lrdrop_fairseq.import_encoder.vocabulary import SPECIAL, UNK, Vocabulary

State = dict[str, Tensor]

HEAD = "sentence_classification_head"
_ENCODER = "encoder.sentence_encoder."

# The class, and the name before all parameters of its encoder.
CLASSES = {
    "bert": ("BertForSequenceClassification", "bert."),
    "roberta": ("RobertaForSequenceClassification", "roberta."),
    "xlm-roberta": ("XLMRobertaForSequenceClassification", "roberta."),
}
# Options of fairseq for which theirs have one value.
_FIXED = {
    "encoder_normalize_before": False, "layernorm_embedding": True, "no_scale_embedding": True,
    "encoder_learned_pos": True, "no_token_positional_embeddings": False,
    "pooler_activation_fn": "tanh", "spectral_norm_classification_head": False,
}  # fmt: skip


def trained_model(checkpoint: Mapping[str, Any], options: dict[str, Any], dictionary: Any) -> Any:
    """The model as fairseq builds it, in float32; its only classification head is the trained one.

    Raises:
        ExportError: it is no sentence model, it is one that ``transformers`` does not have, or
            the dictionary is not that of the training.
    """
    arguments, head = _arguments(options), head_name(options)
    state = checkpoint["model"]
    outputs = state.get(f"classification_heads.{head}.out_proj.weight")
    if outputs is None:
        raise ExportError(
            f"it has no classification head {head!r}: it is no sentence model, which is what "
            "fairseq-train --task sentence_prediction makes of a pretrained encoder"
        )
    if options.get("task") != "sentence_prediction":
        raise ExportError(f"it was trained with --task {options.get('task')}, which is unknown "
                          "here; sentence_prediction was expected")  # fmt: skip
    rows = state.get(f"{_ENCODER}embed_tokens.weight", state.get("encoder.lm_head.bias", ()))
    if len(rows) != len(dictionary):
        raise ExportError(
            f"it has {len(rows):,} pieces, but input0/dict.txt of the data directory, <mask> "
            f"included, {len(dictionary):,}: it was trained on other data; name that with --data"
        )
    task = argparse.Namespace(source_dictionary=dictionary, target_dictionary=dictionary)
    model = ARCH_MODEL_REGISTRY[options["arch"]].build_model(arguments, task)
    model.register_classification_head(head, num_classes=len(outputs))
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise ExportError(f"parameters and options are not of one model: {reason}") from error
    return model.float().eval()


def head_name(options: Mapping[str, Any]) -> str:
    """The name of the classification head."""
    return str(options.get("classification_head_name") or HEAD)


def _arguments(options: dict[str, Any]) -> argparse.Namespace:
    """The options with all that the architecture stands for; ExportError where theirs has none."""
    arch = options.get("arch")
    if arch not in ARCH_MODEL_REGISTRY:
        raise ExportError(
            f"architecture {arch!r} is unknown: pass the --user-dir that it was trained with"
        )
    if not issubclass(ARCH_MODEL_REGISTRY[arch], RobertaModel):
        raise ExportError(
            f"architecture {arch}: only fairseq's RoBERTa (lr_drop_roberta, roberta and what "
            "derives from them) becomes a sentence model of Hugging Face's"
        )
    arguments = argparse.Namespace(**options)
    ARCH_CONFIG_REGISTRY[arch](arguments)
    for name, value in _FIXED.items():
        found = getattr(arguments, name, value)
        if found != value:
            raise ExportError(
                f"option {name} is {found!r}: Hugging Face's BERT and RoBERTa compute what "
                f"fairseq's does with {value!r}"
            )
    return arguments


def classifier_state(
    model: Any, head: str, kind: str, vocabulary: Vocabulary, rows: int, segments: int
) -> State:
    """The parameters under Hugging Face's names.

    Args:
        vocabulary: the tokenizer's row of each index of fairseq's dictionary.
        rows: V, rows of the tokenizer.  One that fairseq's dictionary lacks gets the embedding of
            the unknown piece, which is what the model was trained to read there.
        segments: rows of the segments' embedding: zeros, since fairseq's model has no segments
            (an imported one has the first in its positions).

    Raises:
        ExportError: a parameter has no place in Hugging Face's model.
    """
    ours: State = model.state_dict()
    prefix = CLASSES[kind][1]
    words = ours.pop(f"{_ENCODER}embed_tokens.weight")
    # N x C -> V x C
    table = words[SPECIAL.index(UNK)].repeat(rows, 1)
    table[vocabulary.rows()] = words
    # RoBERTa's positions begin after that of the padding, as fairseq's do; BERT's at 0.
    positions = ours.pop(f"{_ENCODER}embed_positions.weight")
    if kind == "bert":
        # (2 + P) x C -> P x C
        positions = positions[FIRST_POSITION:]
    embeddings = {
        "word": table, "position": positions,
        "token_type": torch.zeros(segments, words.shape[1]),
    }  # fmt: skip
    state = {f"{prefix}embeddings.{n}_embeddings.weight": v for n, v in embeddings.items()}
    names = {**_theirs(prefix), **_head_names(kind, head)}
    for name, value in ours.items():
        pattern = next((pattern for pattern in names if re.match(pattern, name)), None)
        if pattern is not None:
            state[re.sub(pattern, names[pattern], name, count=1)] = value
        elif not name.startswith("encoder.lm_head.") and not name.endswith(".version"):
            raise ExportError(f"its {name} has no place in Hugging Face's {CLASSES[kind][0]}")
    return {name: value.detach().clone().contiguous() for name, value in state.items()}


def _theirs(prefix: str) -> dict[str, str]:
    """The renaming of the import, in the other direction."""
    number = r"(\d+)"
    return {
        re.escape(ours).replace(re.escape(r"\1"), number):
            prefix + theirs.replace(number, r"\1").replace(r"\.", ".")
        for theirs, ours in ENCODER_NAMES.items()
    }  # fmt: skip


def _head_names(kind: str, head: str) -> dict[str, str]:
    """BERT's pooler is the first layer of fairseq's head; RoBERTa's head is fairseq's."""
    bert = kind == "bert"
    head = re.escape(f"classification_heads.{head}.")
    return {
        f"{head}dense\\.": "bert.pooler.dense." if bert else "classifier.dense.",
        f"{head}out_proj\\.": "classifier." if bert else "classifier.out_proj.",
    }
