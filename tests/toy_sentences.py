"""A tiny sentence prediction task, its models and batches for the tests."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.data import Dictionary, indexed_dataset
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from fairseq.tasks.sentence_prediction import SentencePredictionConfig, SentencePredictionTask

from lrdrop_fairseq.criterions.sentence_prediction import LRDropSentencePredictionConfig
from tests.toy import SIZES, VOCABULARY

CLASSES = 3
HEAD = "sentence_classification_head"
# Weights with which every term is of account; the defaults are small.
STRONG = dict(lr_drop_hidden_weight=1.0, lr_drop_output_weight=0.5)


def make_sentence_task(regression: bool = False, classes: int = CLASSES) -> SentencePredictionTask:
    words, labels = Dictionary(), Dictionary()
    for i in range(VOCABULARY - len(words) - 1):
        words.add_symbol(f"w{i}")
    words.add_symbol("<mask>")
    for i in range(classes):
        labels.add_symbol(str(i))
    config = SentencePredictionConfig()
    config.data, config.num_classes = "no-data", 1 if regression else classes
    config.max_positions, config.classification_head_name = 62, HEAD
    return SentencePredictionTask(config, words, words if regression else labels)


def make_sentence_model(
    arch: str = "lr_drop_roberta", task: Any = None, seed: int = 1, **options: Any
) -> Any:
    """A model with its head in training mode; ``options`` as on the command line."""
    task = task or make_sentence_task()
    args = Namespace(arch=arch, task="sentence_prediction", **{**SIZES, "dropout": 0.1, **options})
    ARCH_CONFIG_REGISTRY[arch](args)
    torch.manual_seed(seed)
    args.max_positions = task.max_positions()
    model: Any = ARCH_MODEL_REGISTRY[arch].build_model(args, task)
    model.register_classification_head(HEAD, num_classes=task.cfg.num_classes)
    return model.train()


def make_sentence_criterion(
    name: str = "lr_drop_sentence_prediction", task: Any = None, **options: Any
) -> Any:
    task = task or make_sentence_task()
    config = LRDropSentencePredictionConfig(max_update=0)
    config.regression_target = getattr(task, "label_dictionary", None) is task.source_dictionary
    for option, value in {**STRONG, **options}.items():
        setattr(config, option, value)
    return CRITERION_REGISTRY[name](config, task)


def make_sentences(
    lengths: Sequence[int] = (5, 3, 6, 2),
    regression: bool = False,
    seed: int = 0,
    extra_padding: int = 0,
    decoder_input: bool = False,
) -> dict[str, Any]:
    """A batch of random sentences of the given lengths, ``<s>`` and ``</s>`` included."""
    dictionary = make_sentence_task().source_dictionary
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.full((len(lengths), max(lengths) + extra_padding), dictionary.pad())
    for row, length in zip(tokens, lengths):
        row[:length] = torch.randint(
            dictionary.nspecial, VOCABULARY - 1, (length,), generator=generator
        )
        row[0], row[length - 1] = dictionary.bos(), dictionary.eos()
    if regression:
        target = torch.rand((len(lengths), 1), generator=generator) * 5
    else:
        target = torch.randint(CLASSES, (len(lengths), 1), generator=generator)
    net_input = {"src_tokens": tokens, "src_lengths": torch.tensor(lengths)}
    if decoder_input:
        net_input["prev_output_tokens"] = tokens.clone()
    return {
        "id": torch.arange(len(lengths)),
        "nsentences": len(lengths),
        "ntokens": sum(lengths),
        "net_input": net_input,
        "target": target,
    }


def write_sentences(folder: Path, lengths: Sequence[int], regression: bool = False) -> Path:
    """Write a binarized training set of sentences of these lengths, and return its folder."""
    task, sample = make_sentence_task(), make_sentences(lengths, regression)
    inputs, labels = folder / "input0", folder / "label"
    for side, dictionary in ((inputs, task.source_dictionary), (labels, task.label_dictionary)):
        side.mkdir(parents=True)
        dictionary.save(str(side / "dict.txt"))
    words = task.source_dictionary
    words.save(str(inputs / "dict.txt"))
    write(inputs / "train", [row[row.ne(words.pad())] for row in sample["net_input"]["src_tokens"]])
    if regression:
        (labels / "train.label").write_text("".join(f"{x}\n" for x in sample["target"].flatten()))
    else:
        first = task.label_dictionary.nspecial
        write(labels / "train", [first + row for row in sample["target"]])
    return folder


def write(prefix: Path, rows: Sequence[torch.Tensor]) -> None:
    builder = indexed_dataset.make_builder(f"{prefix}.bin", "mmap", VOCABULARY)
    for row in rows:
        builder.add_item(row.int())
    builder.finalize(f"{prefix}.idx")
