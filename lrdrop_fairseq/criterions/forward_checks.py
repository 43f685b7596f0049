"""What LR-Drop needs of a model's forward: what it takes, in which order, and what it returns."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fairseq.models import FairseqLanguageModel
from torch import Tensor, nn

from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.models.exposed import method_class
from lrdrop_fairseq.wrappers import unwrap


def check_inputs(model: nn.Module, net_input: dict[str, Any]) -> None:
    """Raise ValueError unless the model's forward takes what the batches of the task hold.

    Args:
        model: as fairseq's trainer passes it, wrapped or not.
        net_input: the arguments of its forward, of any batch.
    """
    inner = unwrap(model)[-1]
    if isinstance(inner, FairseqLanguageModel) and "prev_output_tokens" in net_input:
        raise Refused(
            f"{type(inner).__name__} is a language model, and this task translates: use --task "
            "language_modeling, or an architecture such as lr_drop_transformer"
        )
    # The mixin that exposes states takes whatever the class behind it takes.
    owner = method_class(type(inner), "forward")
    try:
        inspect.signature(owner.forward).bind(inner, **net_input)
    except TypeError as error:
        raise Refused(
            f"{type(inner).__name__} cannot be trained on the batches of this task, which hold "
            f"{', '.join(net_input)}: its forward says {error}. This criterion trains models that "
            "predict the next word from the words before it: lr_drop_transformer for --task "
            "translation, lr_drop_transformer_lm for --task language_modeling"
        ) from error


@contextmanager
def order_in_words(model: nn.Module) -> Iterator[None]:
    """ValueError for torch's RuntimeError where a model wants sentences sorted by length."""
    try:
        yield
    except RuntimeError as error:
        if "sorted" not in str(error):
            raise
        raise Refused(
            f"{type(unwrap(model)[-1]).__name__} needs batches sorted by length, and the hidden "
            "and the attention term of LR-Drop put the second pass below the first: use "
            "pack_padded_sequence(..., enforce_sorted=False) in it, or set "
            "--lr-drop-hidden-weight 0 --lr-drop-attention-weight 0"
        ) from error


def check_output(model: nn.Module, output: Any, decoder_input: Tensor) -> None:
    """Raise ValueError unless the output has a row for each position of the decoder's input.

    Args:
        model: as fairseq's trainer passes it, wrapped or not.
        output: B x T x V or B x T x C, if all is well.
        decoder_input: B x T.
    """
    shape = tuple(getattr(output, "shape", ()))
    if len(shape) != 3 or shape[:2] != decoder_input.shape:
        raise Refused(
            f"{type(unwrap(model)[-1]).__name__} returns an output of shape {shape} for a decoder "
            f"input of shape {tuple(decoder_input.shape)}: LR-Drop needs logits, sentences x "
            "positions x words"
        )
