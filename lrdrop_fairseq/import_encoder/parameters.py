"""Parameters under fairseq's names, their rows in the order of fairseq's dictionary."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lrdrop_fairseq.import_encoder.errors import ImportingError
from lrdrop_fairseq.import_encoder.vocabulary import MASK, Vocabulary

State = dict[str, Tensor]

# Position 0 of a sentence has index 2 in fairseq, the padding's (1) being none.
FIRST_POSITION = 2

_LAYER = r"encoder\.layer\.(\d+)\."
_OURS = r"encoder.sentence_encoder.layers.\1."
ENCODER_NAMES = {
    r"embeddings\.LayerNorm\.": "encoder.sentence_encoder.layernorm_embedding.",
    rf"{_LAYER}attention\.self\.query\.": f"{_OURS}self_attn.q_proj.",
    rf"{_LAYER}attention\.self\.key\.": f"{_OURS}self_attn.k_proj.",
    rf"{_LAYER}attention\.self\.value\.": f"{_OURS}self_attn.v_proj.",
    rf"{_LAYER}attention\.output\.dense\.": f"{_OURS}self_attn.out_proj.",
    rf"{_LAYER}attention\.output\.LayerNorm\.": f"{_OURS}self_attn_layer_norm.",
    rf"{_LAYER}intermediate\.dense\.": f"{_OURS}fc1.",
    rf"{_LAYER}output\.dense\.": f"{_OURS}fc2.",
    rf"{_LAYER}output\.LayerNorm\.": f"{_OURS}final_layer_norm.",
}
# The head of the language model: BERT's names, then RoBERTa's.
HEAD_NAMES = {
    r"cls\.predictions\.transform\.dense\.": "encoder.lm_head.dense.",
    r"cls\.predictions\.transform\.LayerNorm\.": "encoder.lm_head.layer_norm.",
    r"lm_head\.(dense|layer_norm)\.": r"encoder.lm_head.\1.",
}
HEAD_ROWS = {
    "encoder.lm_head.bias": ("cls.predictions.bias", "cls.predictions.decoder.bias",
                             "lm_head.bias", "lm_head.decoder.bias"),
    "encoder.lm_head.weight": ("cls.predictions.decoder.weight", "lm_head.decoder.weight"),
}  # fmt: skip
# What the published folders hold beside an encoder and what becomes of no use here.
LEFT_OUT = {
    r"pooler\.": "the pooler (a classifier here has a head of its own, new at first)",
    r"cls\.seq_relationship\.": "the head for next sentences",
    r"classifier\.|qa_outputs\.": "the head of another task",
}


@dataclass
class Parameters:
    """The parameters of a folder while they are renamed; what is never taken is known.

    Attributes:
        weights: under Hugging Face's names, without the prefix of the model.
        notes: what the user should know of what came out.
    """

    weights: State
    notes: list[str] = field(default_factory=list)
    state: State = field(default_factory=dict)

    def take(self, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
        """One parameter by its old name; ImportingError where it is missing or misshapen."""
        if name not in self.weights:
            raise ImportingError(f"the weights have no {name}, which config.json calls for")
        value = self.weights.pop(name)
        if shape is not None and tuple(value.shape) != shape:
            raise ImportingError(f"{name} is {tuple(value.shape)}, but config.json says {shape}")
        return value

    def rename(self, names: dict[str, str]) -> None:
        """Take all that begin with one of the patterns."""
        for name in list(self.weights):
            for pattern, ours in names.items():
                if re.match(pattern, name):
                    self.state[re.sub(pattern, ours, name, count=1)] = self.weights.pop(name)
                    break

    def finish(self, left_out: dict[str, str]) -> State:
        """The state; ImportingError where something is left that belongs to no known part."""
        for pattern, what in left_out.items():
            found = [name for name in self.weights if re.match(pattern, name)]
            for name in found:
                del self.weights[name]
            if found:
                self.notes.append(f"left out: {what}")
        if self.weights:
            names = sorted(self.weights)
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ImportingError(
                f"the weights hold {', '.join(names[:3])}{more}, for which fairseq's model has no "
                "place"
            )
        damaged = [name for name, value in self.state.items() if not value.isfinite().all()]
        if damaged:
            raise ImportingError(
                f"the weights are not all numbers: NaN or infinity in what is {damaged[0]} here"
            )
        return {name: value.float().contiguous() for name, value in self.state.items()}


def without_prefix(weights: State, prefixes: tuple[str, ...]) -> State:
    """The weights without the name of the model before theirs, and without buffers.

    The first published BERTs call the parameters of a layer norm gamma and beta.
    """
    found = {}
    for name, value in weights.items():
        prefix = next((p for p in prefixes if name.startswith(p)), "")
        if not name.endswith((".position_ids", ".token_type_ids", ".version")):
            name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name[len(prefix) :])
            found[re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)] = value
    return found


def encoder_state(
    parameters: Parameters, options: dict[str, object], vocabulary: Vocabulary, unused: int
) -> State:
    """The state of fairseq's ``roberta``, in float32.

    Args:
        unused: rows of the positions' embedding before that of the first position.

    Where there is no head of the language model, the entries of ``lm_head`` are missing.
    """
    width = int(str(options["encoder_embed_dim"]))
    rows = vocabulary.rows()
    words = parameters.take("embeddings.word_embeddings.weight", (vocabulary.size, width))
    embedding = words.float()[rows]
    length = int(str(options["max_positions"])) + unused
    position = parameters.take("embeddings.position_embeddings.weight", (length, width)).float()
    position = position[unused:] + _first_segment(parameters)
    # P x C -> (2 + P) x C; the first are of no token
    position = torch.cat([torch.zeros(FIRST_POSITION, width), position])
    encoder = "encoder.sentence_encoder."
    parameters.state[f"{encoder}embed_tokens.weight"] = embedding
    parameters.state[f"{encoder}embed_positions.weight"] = position
    parameters.rename({**ENCODER_NAMES, **HEAD_NAMES})
    _head(parameters, embedding, rows, bool(options["untie_weights_roberta"]))
    return parameters.finish(LEFT_OUT)


def _first_segment(parameters: Parameters) -> Tensor:
    """The embedding of the first segment, 1 x C, which every token gets here."""
    name = "embeddings.token_type_embeddings.weight"
    if name not in parameters.weights:
        return torch.zeros(1)
    segments = parameters.take(name).float()
    if len(segments) > 1:
        parameters.notes.append(
            "the second sentence of a pair has the segment embedding of the first: fairseq has "
            "no segments"
        )
    return segments[:1]


def _head(parameters: Parameters, embedding: Tensor, rows: Tensor, untied: bool) -> None:
    """What the head of the language model has a row for each piece of."""
    complete = "encoder.lm_head.dense.weight" in parameters.state
    for ours, theirs in HEAD_ROWS.items():
        values = [parameters.weights.pop(name) for name in theirs if name in parameters.weights]
        if values and complete:
            parameters.state[ours] = values[0][rows]
    if not complete:
        parameters.notes.append("no head of a language model in it: a new one, unused here")
    elif not untied or "encoder.lm_head.weight" not in parameters.state:
        parameters.state["encoder.lm_head.weight"] = embedding


def bart_state(parameters: Parameters, options: dict[str, object], vocabulary: Vocabulary) -> State:
    """The state of fairseq's ``bart``, in float32; its names are almost the same."""
    bias = parameters.weights.pop("final_logits_bias", torch.zeros(1))
    if bias.any():
        raise ImportingError("final_logits_bias is not 0: fairseq's BART has no such bias")
    shared = [
        parameters.weights.pop(name)
        for name in ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
                     "lm_head.weight")
        if name in parameters.weights
    ]  # fmt: skip
    if not shared:
        raise ImportingError("the weights have no shared.weight, the embedding")
    if any(not torch.equal(other, shared[0]) for other in shared[1:]):
        raise ImportingError("its embeddings differ; fairseq's BART shares them")
    shape = (vocabulary.size, int(str(options["encoder_embed_dim"])))
    if tuple(shared[0].shape) != shape:
        raise ImportingError(
            f"the embedding is {tuple(shared[0].shape)}, but config.json says {shape}"
        )
    # Some fine-tuned models have lost the row of <mask>, their vocabulary's last piece.
    embedding = torch.cat([shared[0].float(), torch.zeros(1, shape[1])])[vocabulary.rows()]
    if vocabulary.special[MASK] == vocabulary.size:
        parameters.notes.append("no embedding of <mask> in it: zeros, of use to nobody")
    for name in ("encoder.embed_tokens", "decoder.embed_tokens", "decoder.output_projection"):
        parameters.state[f"{name}.weight"] = embedding
    parts = "layers|embed_positions|layer_norm|layernorm_embedding"
    parameters.rename({rf"((?:encoder|decoder)\.(?:{parts})\.)": r"\1"})
    return parameters.finish({r"classification_head\.": "the head of another task"})
