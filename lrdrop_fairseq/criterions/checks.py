"""What LR-Drop needs of its options, the task and the model, checked before the first update."""

from __future__ import annotations

import logging
from typing import Any

from fairseq.models import ARCH_MODEL_REGISTRY, FairseqEncoderModel, FairseqLanguageModel
from fairseq.models.transformer import TransformerDecoderBase, TransformerEncoderBase
from fairseq.modules import AdaptiveInput, AdaptiveSoftmax, FairseqDropout
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.dropout import check_probabilities
from lrdrop_fairseq.models.exposed import ExposesLayerStates
from lrdrop_fairseq.wrappers import unwrap

logger = logging.getLogger(__name__)


# Far from what anyone can want, and so near to float32's limits that the losses would leave them.
SMALLEST_WEIGHT, LARGEST_WEIGHT = 1e-30, 1e6


def check_weights(**weights: float) -> None:
    """Raise ValueError for a weight (alpha, beta or gamma) that cannot be meant."""
    for name, weight in weights.items():
        if not (weight == 0 or SMALLEST_WEIGHT <= weight <= LARGEST_WEIGHT):
            raise Refused(
                f"--lr-drop-{name}-weight is {weight}: it must be 0, which switches the term off, "
                f"or a number from {SMALLEST_WEIGHT:g} to {LARGEST_WEIGHT:g}"
            )


def check_label_smoothing(probability: float) -> None:
    """Raise ValueError unless some probability, and no more than all, is left to the true word."""
    if not 0 <= probability < 1:
        raise Refused(f"--label-smoothing is {probability}: it must be at least 0 and less than 1")


def check_task(task: Any) -> None:
    """Raise ValueError if the task has no sequences for targets: there is nothing to regularize."""
    if getattr(task, "label_dictionary", None) is not None:
        raise Refused(
            f"the task {type(task).__name__} predicts labels of sentences: use --criterion "
            "lr_drop_sentence_prediction"
        )
    if getattr(task, "target_dictionary", None) is None:
        raise Refused(
            f"the task {type(task).__name__} has no targets: LR-Drop needs a task such as "
            "translation or language_modeling, in which words are predicted from those before them"
        )
    targets = getattr(task, "targets", None) or ["future"]  # of a language model
    if targets != ["future"]:
        raise Refused(
            f"the task {type(task).__name__} predicts more than the next word ({', '.join(targets)}"
            "): LR-Drop trains language models without --self-target and --past-target"
        )
    if getattr(getattr(task, "args", None), "pad_to_fixed_bsz", False):
        raise Refused(
            "--pad-to-fixed-bsz fills batches with sentences that are none: leave it out to train "
            "with LR-Drop"
        )


def check_labels(task: Any) -> None:
    """Raise ValueError if the task predicts nothing about sentences."""
    if getattr(task, "label_dictionary", None) is None:
        raise Refused(
            f"the task {type(task).__name__} has no labels: lr_drop_sentence_prediction needs "
            "--task sentence_prediction"
        )


def check_model(model: nn.Module, exposed: bool) -> None:
    """Check that the model can be trained with LR-Drop.

    Warns if all dropout probabilities are 0: then the two passes agree anyway.

    Args:
        model: as fairseq's trainer passes it, wrapped or not.
        exposed: whether its layer states are needed.

    Raises:
        ValueError: ``exposed``, but the architecture exposes no layer states, or its encoder or
            decoder has none; or its parameters are sharded over the workers; or a dropout is no
            probability.
    """
    modules = list(model.modules())
    if any(type(module).__name__ == "FullyShardedDataParallel" for module in modules):
        raise Refused(
            "LR-Drop does not train with --ddp-backend fully_sharded: it reads the output "
            "projection outside of the model's forward, where no worker holds all of it. Use "
            "--ddp-backend pytorch_ddp or legacy_ddp"
        )
    if exposed and not any(isinstance(module, ExposesLayerStates) for module in modules):
        raise Refused(
            f"{type(unwrap(model)[-1]).__name__} exposes no layer states, which the hidden and the "
            "attention term of LR-Drop need. Set --lr-drop-hidden-weight 0 "
            "--lr-drop-attention-weight 0, which leaves the output term, or derive your model from "
            "lrdrop_fairseq.models.exposed.ExposesLayerStates, or use --arch "
            + " or ".join(exposing_architectures(type(unwrap(model)[-1])))
        )
    if exposed:
        _check_stacks(model)
    check_probabilities(model)
    dropouts = [m for m in modules if isinstance(m, (FairseqDropout, nn.Dropout))]
    if all(module.p == 0 for module in dropouts):
        logger.warning(
            "all dropout probabilities are 0: the two passes of LR-Drop are the same and there is "
            "nothing to regularize. Set --dropout or --attention-dropout"
        )


def check_decoder(model: nn.Module) -> None:
    """Raise ValueError if the model, as of :func:`check_model`, is an encoder alone."""
    inner = unwrap(model)[-1]
    if isinstance(inner, FairseqEncoderModel):
        raise Refused(
            f"{type(inner).__name__} has no decoder: this criterion needs an architecture such as "
            "lr_drop_transformer, lr_drop_bart or lr_drop_transformer_lm, which predicts the next "
            "word from those before it"
        )


def check_bands(model: nn.Module, all_probabilities: bool = False) -> None:
    """Raise ValueError if DistributedDataParallel is to wait for all bands of words of a model.

    An adaptive softmax, or an adaptive input, has a matrix for each band of the vocabulary, which
    is not used where a batch has no word of it. fairseq's ``adaptive_loss`` refuses it as well.

    Args:
        all_probabilities: whether the loss uses those of all words, and so all bands of a softmax.
    """
    banded = (AdaptiveInput,) if all_probabilities else (AdaptiveInput, AdaptiveSoftmax)
    parallel = any(isinstance(wrapper, DistributedDataParallel) for wrapper in unwrap(model))
    if parallel and any(isinstance(module, banded) for module in model.modules()):
        raise Refused(
            "a model with adaptive softmax or adaptive input does not train with --ddp-backend "
            "pytorch_ddp, which waits for the gradients of words that a batch does not have: use "
            "--ddp-backend legacy_ddp"
        )


def _check_stacks(model: Any) -> None:
    """Raise ValueError unless encoder and decoder have layers that can be recorded."""
    stacks: dict[str, type[nn.Module]] = {}
    if not isinstance(unwrap(model)[-1], FairseqLanguageModel):
        stacks["encoder"] = TransformerEncoderBase
    if not isinstance(unwrap(model)[-1], FairseqEncoderModel):
        stacks["decoder"] = TransformerDecoderBase
    for name, base in stacks.items():
        stack = getattr(model, name, None)
        # RoBERTa's encoder is not such a stack itself: it has one, and a head.
        if not any(isinstance(m, base) for m in ([] if stack is None else stack.modules())):
            raise Refused(
                f"the {name} of this model is {type(stack).__name__} and has no part derived from "
                f"fairseq's {base.__name__}: LR-Drop cannot see its layers. Set "
                "--lr-drop-hidden-weight 0 --lr-drop-attention-weight 0"
            )


def exposing_architectures(model: type[nn.Module]) -> list[str]:
    """Names for ``--arch`` that expose layer states: ours of a model of fairseq, else all."""
    every = sorted(
        name for name, cls in ARCH_MODEL_REGISTRY.items() if issubclass(cls, ExposesLayerStates)
    )
    ours = [
        name for name in every if ARCH_MODEL_REGISTRY.get(name.removeprefix("lr_drop_")) is model
    ]
    return ours or every
