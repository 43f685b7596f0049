"""Which model a checkpoint is of, and whether what it holds are that model's parameters."""

from __future__ import annotations

import argparse
import copy
import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from fairseq import models
from fairseq.data import Dictionary
from fairseq.utils import import_user_module

from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.compat.unknown_models import registered

# Options that change what a Transformer computes, and no shape of its parameters.
_SAME_SHAPES = (
    "encoder_attention_heads",
    "decoder_attention_heads",
    "encoder_normalize_before",
    "decoder_normalize_before",
    "activation_fn",
    "no_scale_embedding",
    "layer_norm_epsilon",
)


class ModelError(Exception):
    """The checkpoint does not hold a whole model; the message says what is wrong with it."""


def describe(options: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be equal in models whose parameters are averaged.

    Args:
        options: those of the model, under the names of their flags.

    Raises:
        ModelError: they do not name an architecture, or one that nothing registers.
    """
    name = options.get("_name") or options.get("arch")
    if not name:
        raise ModelError("does not say what was trained: it has no options of a model")
    if not registered(name):
        raise ModelError(
            f"architecture {name!r} is unknown: pass the --user-dir that it was trained with"
        )
    return {"architecture": name, **{key: options.get(key) for key in _SAME_SHAPES}}


def import_user_dir(user_dir: str) -> None:
    """Let a folder register its architectures; ModelError where it cannot be imported."""
    try:
        import_user_module(argparse.Namespace(user_dir=user_dir))
    except Exception as error:  # whatever the code there raises
        raise ModelError(f"--user-dir {user_dir}: cannot be imported ({error})") from error


def finite(name: str, value: torch.Tensor) -> bool:
    """Whether a parameter of a checkpoint holds finite values alone, or values that nobody reads.

    fairseq's adaptive input and softmax save a number of which they want the device and the type:
    memory as it was found.
    """
    return name.endswith("._float_tensor") or bool(torch.isfinite(value).all())


def check_parameters(options: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Compare names and shapes with those of the architecture, which is built anew.

    Args:
        options: all of the training, under the names of their flags, with ``arch``.

    Raises:
        ModelError: parameters are missing, are of another architecture, have other shapes, or
            hold values that are not finite; or the model cannot be built from the options.
    """
    if not parameters:
        raise ModelError("holds no parameters")
    for name, value in parameters.items():
        if isinstance(value, torch.Tensor) and not finite(name, value):
            raise ModelError(f"parameter {name} holds values that are not finite")
    arguments = argparse.Namespace(**copy.deepcopy(dict(options)))
    arguments.load_checkpoint_heads = True  # those that the task would add
    try:
        model = models.build_model(arguments, _task(parameters))
        model.load_state_dict(dict(parameters), strict=True)
    except Refused as error:  # of an option that would have to be run
        raise ModelError(str(error)) from error
    except RuntimeError as error:
        differences = re.sub(r"\s+", " ", str(error).partition(":")[2]).strip()
        raise ModelError(
            f"its parameters are not those of {arguments.arch}: {differences:.400}"
        ) from error


def _task(parameters: Mapping[str, Any]) -> Any:
    """As much of a task as a model is built from: dictionaries as large as its embeddings."""
    encoder, decoder = (
        _rows(parameters, rf"{side}\.(sentence_encoder\.)?embed_tokens\.{_EMBEDDINGS}")
        for side in ("encoder", "decoder")
    )
    source = encoder or decoder
    if not source:
        raise ModelError("its parameters are not those of a Transformer: it has no embeddings")
    # A language model may have fewer words to predict than to read (--output-dictionary-size).
    output = None if encoder else _rows(parameters, r"decoder\.output_projection\.weight")
    target = output or decoder or source
    words = _Words(source)
    # One dictionary where it has as many words: shared embeddings are of one.
    others = words if target == source else _Words(target)
    return SimpleNamespace(source_dictionary=words, target_dictionary=others, dictionary=words)


# Of one matrix, or of an adaptive input, which has one for each band of its words.
_EMBEDDINGS = r"(weight|embeddings\.\d+\.0\.weight)"


def _rows(parameters: Mapping[str, Any], pattern: str) -> int:
    return sum(len(value) for name, value in parameters.items() if re.fullmatch(pattern, name))


class _Words(Dictionary):
    """A dictionary of which only the size and fairseq's own symbols matter."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def __len__(self) -> int:
        return self.size
