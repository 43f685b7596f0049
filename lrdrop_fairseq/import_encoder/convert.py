"""A pretrained model in Hugging Face's layout as a checkpoint of fairseq."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from torch import Tensor

from lrdrop_fairseq.checkpoints.export import readable_as_attributes
from lrdrop_fairseq.import_encoder import families
from lrdrop_fairseq.import_encoder.errors import ImportingError
from lrdrop_fairseq.import_encoder.folder import Folder
from lrdrop_fairseq.import_encoder.parameters import (
    Parameters,
    bart_state,
    encoder_state,
    without_prefix,
)
from lrdrop_fairseq.import_encoder.text import plain, separator, tokenize
from lrdrop_fairseq.import_encoder.vocabulary import EOS, MASK, Vocabulary, read_vocabulary

State = dict[str, Tensor]


@dataclass(frozen=True)
class Converted:
    """What is written.

    Attributes:
        checkpoint: of fairseq, as ``torch.save`` writes it.
        vocabulary: its dictionary.
        tokenizer: the model's own.
        record: for ``import.json``.
        notes: what the user should know.
    """

    checkpoint: dict[str, Any]
    vocabulary: Vocabulary
    tokenizer: Any
    record: dict[str, Any]
    notes: list[str]


def convert(folder: Folder, texts: Iterable[str] | None = None) -> Converted:
    """Convert one folder.

    Args:
        texts: keep only the pieces that occur in these.

    Raises:
        ImportingError: fairseq has no such model, or the folder is damaged.
    """
    config = folder.json("config.json")
    kind = config.get("model_type")
    if kind not in (*families.ENCODERS, *families.ENCODER_DECODERS):
        raise ImportingError(
            f"{folder.path}: model_type {kind!r} cannot be imported; these can: "
            f"{', '.join((*families.ENCODERS, *families.ENCODER_DECODERS))}"
        )
    if texts is not None and kind not in families.ENCODERS:
        raise ImportingError("--pieces-of is for encoders: what a decoder writes is not known")
    try:
        return _convert(folder, config, kind, texts)
    except ImportingError as error:
        where = str(folder.path)
        raise ImportingError(str(error) if where in str(error) else f"{where}: {error}") from error


def _convert(
    folder: Folder, config: dict[str, Any], kind: str, texts: Iterable[str] | None
) -> Converted:
    encoder = kind in families.ENCODERS
    options = (families.encoder_options if encoder else families.bart_options)(config)
    tokenizer = plain(folder.tokenizer())
    size = families.need(config, "vocab_size")
    vocabulary = read_vocabulary(folder, tokenizer, size, kind)
    if texts is not None:
        vocabulary = vocabulary.only(
            {piece for pieces in tokenize(tokenizer, texts) for piece in pieces}
        )
    prefixes = ("bert.", "roberta.") if encoder else ("model.",)
    parameters = Parameters(without_prefix(folder.weights(), prefixes))
    if encoder:
        state = encoder_state(parameters, options, vocabulary, families.unused_positions(config))
    else:
        state = bart_state(parameters, options, vocabulary)
    arch = (
        "roberta" if encoder else "bart_large" if options["no_scale_embedding"] else "mbart_large"
    )
    arguments = _arguments(arch, options, vocabulary)
    state = _checked(arguments, state, vocabulary)
    record = {
        "model_type": kind,
        "arch": f"lr_drop_{arch}",
        "flags": _flags(options),
        "symbols": vocabulary.named,
        # what stands between two sentences: </s>, or </s> </s> as RoBERTa was pretrained
        "pairs": separator(tokenizer, vocabulary.named[EOS])
        or ("</s>" if kind == "bert" else "</s> </s>"),
        "pieces": len(vocabulary.rows()),
        "of_pieces": size,
        "languages": list(vocabulary.languages),
    }
    checkpoint = _checkpoint(arguments, state)
    return Converted(checkpoint, vocabulary, tokenizer, record, parameters.notes)


def _arguments(arch: str, options: dict[str, Any], vocabulary: Vocabulary) -> argparse.Namespace:
    """The options of the training that the checkpoint would come from, had fairseq trained it."""
    if arch == "roberta":
        task: dict[str, Any] = dict(task="masked_lm", criterion="masked_lm")
    elif vocabulary.languages:
        task = dict(task="multilingual_denoising", criterion="cross_entropy",
                    langs=",".join(vocabulary.languages), add_lang_token=True,
                    # fairseq takes it from a group of options that has none
                    train_subset="train", valid_subset="valid")  # fmt: skip
    else:
        task = dict(task="denoising", criterion="cross_entropy")
    arguments = argparse.Namespace(arch=arch, **task, **options)
    ARCH_CONFIG_REGISTRY[arch](arguments)
    return arguments


def _checked(arguments: argparse.Namespace, state: State, vocabulary: Vocabulary) -> State:
    """The state, completed by a new head where it has none; as fairseq's model takes it.

    Raises:
        ImportingError: it does not, so config and weights are not of one model.
    """
    symbols = Dictionary()
    for piece in (*vocabulary.pieces, MASK):
        symbols.add_symbol(piece)
    task = argparse.Namespace(source_dictionary=symbols, target_dictionary=symbols)
    # A copy: the model writes into its options. The same seed: whoever imports a folder once more
    # gets the same file, a new head included.
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            built = ARCH_MODEL_REGISTRY[arguments.arch].build_model(
                argparse.Namespace(**vars(arguments)), task
            )
    except AssertionError as error:
        raise ImportingError(f"config.json: fairseq cannot build such a model ({error})") from error
    own = built.state_dict()
    heads = {name: own[name] for name in own if name.startswith("encoder.lm_head.")}
    if heads and not any(name in state for name in heads):
        heads["encoder.lm_head.weight"] = state["encoder.sentence_encoder.embed_tokens.weight"]
        state = {**state, **heads}
    state |= {name: value for name, value in own.items() if name.endswith(".version")}
    try:
        built.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise ImportingError(f"config.json and weights are not of one model: {reason}") from error
    return state


def _flags(options: dict[str, Any]) -> list[str]:
    """The options as fairseq-train takes them."""
    flags = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            flags.append(flag)
        elif value is not False:
            flags += [flag, str(value)]
    return flags


def _checkpoint(arguments: argparse.Namespace, state: State) -> dict[str, Any]:
    """What fairseq reads: plain values alone, so that torch loads it with nothing allowed."""
    history: dict[str, Any] = {
        "criterion_name": "MaskedLmLoss"
        if arguments.task == "masked_lm"
        else "CrossEntropyCriterion",
        "optimizer_name": "FairseqAdam",
        "lr_scheduler_state": {},
        "num_updates": 1,
    }
    return {
        "args": readable_as_attributes(vars(arguments)),
        "model": {name: value.detach().clone() if value._is_view() else value.detach()
                  for name, value in state.items()},
        "optimizer_history": [history],
        "extra_state": {"train_iterator": {"epoch": 1}, "val_loss": 0.0},
        "last_optimizer_state": None,
    }  # fmt: skip
