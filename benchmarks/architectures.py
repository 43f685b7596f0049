"""One small model of each architecture, and batches that take every path through it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from fairseq.data import Dictionary
from fairseq.modules import MultiheadAttention
from fairseq.tasks.sentence_prediction import SentencePredictionTask
from fairseq.tasks.translation import TranslationTask
from fairseq.trainer import Trainer

from benchmarks.shapes import Shape, dictionary, make_batches
from benchmarks.trainers import make_config, make_trainer

_CLASSES = 3
_TRANSLATION = (
    "--task translation --criterion lr_drop_label_smoothed_cross_entropy --lr-drop-start 0 "
    "--label-smoothing 0.1 --lr-drop-attention-weight 30 "
    "--share-all-embeddings --max-source-positions 512 --max-target-positions 512 "
)
_SENTENCES = (
    "--task sentence_prediction --criterion lr_drop_sentence_prediction --max-positions 512 "
    f"--num-classes {_CLASSES} --classification-head-name head --pooler-dropout 0.1 "
    "--lr-drop-attention-weight 1000 "
)
# Weights of the attention term with which its gradient is a tenth or so of the whole one with long
# sentences, too: with the default it would be lost in it, right or wrong.
# Attention dropout would differ with the form of the losses, where maps are long; gelu, as a
# rounding can switch a relu on.
_MODEL = "--dropout 0.1 --attention-dropout 0 --activation-fn gelu"


@dataclass(frozen=True)
class Size:
    """Of a model: ``layers`` in each stack, of a ``width``; and of the batches it gets."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    max_tokens: int


FULL = Size(layers=4, width=256, heads=4, vocabulary=8000, max_tokens=2048)
SMOKE = Size(layers=1, width=32, heads=2, vocabulary=100, max_tokens=512)


def translation(arch: str, size: Size, flags: list[str]) -> tuple[Trainer, list[dict[str, Any]]]:
    """A trainer of a translation model with these flags, and its batches."""
    words = dictionary(size.vocabulary)
    config = make_config(_flags(f"{_TRANSLATION} --arch {arch}", size, "encoder decoder") + flags)
    task = TranslationTask(config.task, words, words)
    return _trainer(config, task), _batches(size, words)


def sentences(arch: str, size: Size, flags: list[str]) -> tuple[Trainer, list[dict[str, Any]]]:
    """A trainer of a classifier of sentences with these flags, and its batches."""
    words, labels = dictionary(size.vocabulary), Dictionary()
    words.add_symbol("<mask>")
    for i in range(_CLASSES):
        labels.add_symbol(str(i))
    config = make_config(_flags(f"{_SENTENCES} --arch {arch}", size, "encoder") + flags)
    task = SentencePredictionTask(config.task, words, labels)
    return _trainer(config, task), [_labelled(batch, words) for batch in _batches(size, words)]


# name: what makes its trainer, all three terms on, and two batches: of short and of long sentences.
ARCHITECTURES: dict[str, Callable[..., tuple[Trainer, list[dict[str, Any]]]]] = {
    "lr_drop_transformer": translation,
    "lr_drop_bart": translation,
    "lr_drop_roberta": sentences,
}


def _trainer(config: Any, task: Any) -> Trainer:
    torch.manual_seed(1)
    model = task.build_model(config.model)
    for module in model.modules():
        if isinstance(module, MultiheadAttention):
            # Random maps are flat, and so the same in both passes. Of a trained model they are not.
            for weight in (module.q_proj.weight, module.k_proj.weight):
                torch.nn.init.normal_(weight, std=1.5 / math.sqrt(weight.size(1)))
    return make_trainer(config, task, model, task.build_criterion(config.criterion))


def _flags(common: str, size: Size, stacks: str) -> list[str]:
    flags = f"{common} {_MODEL} --max-tokens {size.max_tokens}".split()
    for stack in stacks.split():
        flags += [f"--{stack}-layers={size.layers}", f"--{stack}-embed-dim={size.width}"]
        flags += [f"--{stack}-ffn-embed-dim={4 * size.width}"]
        flags += [f"--{stack}-attention-heads={size.heads}"]
    return flags


def _batches(size: Size, words: Dictionary) -> list[dict[str, Any]]:
    """Short sentences, whose attention maps are formed, and long ones, whose maps are not."""
    short = Shape((), size.vocabulary, 20, 20, 0.5, 0.15, size.max_tokens, 0)
    # All of them longer than 362 tokens, and none longer than 512.
    long = Shape((), size.vocabulary, 425, 425, 0.02, 0.02, max(512, size.max_tokens // 2), 0)
    batches = [make_batches(shape, words, 1)[0] for shape in (short, long)]
    for batch in batches:
        _shorten_last(batch, words.pad())
    return batches


def _shorten_last(batch: dict[str, Any], pad: int) -> None:
    """A quarter of the last sentence becomes padding: batches by length can have none."""
    source, shifted = (batch["net_input"][key] for key in ("src_tokens", "prev_output_tokens"))
    target = batch["target"]
    cut = source.size(1) // 4
    source[-1, :cut] = pad  # fairseq pads sources on the left
    batch["net_input"]["src_lengths"][-1] = source[-1].ne(pad).sum()
    before = int(target[-1].ne(pad).sum())
    target[-1, -cut - 1], target[-1, -cut:] = target[-1, before - 1], pad
    shifted[-1, -cut:] = pad
    batch["ntokens"] -= before - int(target[-1].ne(pad).sum())


def _labelled(batch: dict[str, Any], words: Dictionary) -> dict[str, Any]:
    """The target sentences of a batch, padded on the right, with labels to be predicted."""
    tokens = batch["target"].clone()
    tokens[:, 0] = words.bos()
    lengths = tokens.ne(words.pad()).sum(dim=1)
    return {
        "id": batch["id"],
        "nsentences": len(tokens),
        "ntokens": int(lengths.sum()),
        "net_input": {"src_tokens": tokens, "src_lengths": lengths},
        "target": torch.arange(len(tokens)).remainder(_CLASSES).unsqueeze(1),
    }
