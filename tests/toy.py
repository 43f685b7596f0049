"""A tiny translation task, its models, batches and binarized data for the tests."""

from __future__ import annotations

import copy
import functools
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq import options
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.data import Dictionary, indexed_dataset
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from fairseq.modules.transformer_layer import (
    TransformerDecoderLayerBase,
    TransformerEncoderLayerBase,
)
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from fairseq.trainer import Trainer

# Registers the architectures and the criterion.
from lrdrop_fairseq import dropout
from lrdrop_fairseq.export import load
from lrdrop_fairseq.siamese import halves

VOCABULARY = 31
SIZES = dict(
    encoder_embed_dim=16,
    encoder_ffn_embed_dim=24,
    encoder_layers=2,
    encoder_attention_heads=2,
    decoder_layers=3,
    decoder_attention_heads=4,
    max_source_positions=64,
    max_target_positions=64,
)

# Terms that act at once, and more strongly than by default, so that no mistake in one is lost.
STRONG = dict(lr_drop_start=0, lr_drop_hidden_weight=1.0, lr_drop_output_weight=2.5)

# What LR-Drop logs of its objective.
TERMS = ("loss", "nll_loss", "hidden_loss", "attention_loss", "output_loss")


def make_task() -> TranslationTask:
    dictionary = Dictionary()
    for i in range(VOCABULARY - len(dictionary)):
        dictionary.add_symbol(f"w{i}")
    return TranslationTask(TranslationConfig(), dictionary, dictionary)


def make_model(arch: str = "lr_drop_transformer", seed: int = 1, **options: Any) -> Any:
    """A model in training mode with the sizes above; ``options`` as on the command line."""
    args = Namespace(arch=arch, **{**SIZES, **options})
    ARCH_CONFIG_REGISTRY[arch](args)
    torch.manual_seed(seed)
    return ARCH_MODEL_REGISTRY[arch].build_model(args, make_task()).train()


def perturb_layers(model: Any) -> None:
    """Where two passes agree, as without dropout, let the second differ in a fixed way."""
    for module in model.modules():
        if isinstance(module, (TransformerEncoderLayerBase, TransformerDecoderLayerBase)):
            module.register_forward_pre_hook(_perturb)


def _perturb(layer: Any, inputs: tuple[Any, ...]) -> Any:
    """Scale every feature of the second pass by a factor of its own. T x 2B x C."""
    x, *others = inputs
    first, second = halves(x, dim=1)
    # In steps of 1/64: the same factors in half precision.
    factor = 1 + torch.sin(torch.arange(1.0, x.size(-1) + 1)).mul(0.3 * 64).round() / 64
    return torch.cat([first, second * factor.to(x)], dim=1), *others


def make_criterion(
    name: str = "lr_drop_label_smoothed_cross_entropy", task: Any = None, **options: Any
) -> Any:
    options = {"sentence_avg": False, "label_smoothing": 0.1, **options}
    if name.startswith("lr_drop_"):
        options = {**STRONG, **options}
    return CRITERION_REGISTRY[name](task or make_task(), **options)


def make_trainer(*flags: str, task: Any = None, seed: int = 1) -> Trainer:
    """fairseq's trainer of a model and criterion as above; ``flags`` as of fairseq-train."""
    arguments = ["no-data", "--task=translation", "--max-tokens=100", "--log-format=none"]
    arguments += ["--arch=lr_drop_transformer"]
    if not any(flag.startswith("--criterion=") for flag in flags):
        arguments += ["--criterion=lr_drop_label_smoothed_cross_entropy"]
        arguments += [f"--{name.replace('_', '-')}={value}" for name, value in STRONG.items()]
    arguments += ["--label-smoothing=0.1", "--optimizer=adam", "--lr=1e-3", "--lr-scheduler=fixed"]
    arguments += [f"--{name.replace('_', '-')}={size}" for name, size in SIZES.items()]
    config = configuration(*arguments, *flags)
    task = task or make_task()
    torch.manual_seed(seed)
    model = task.build_model(config.model)
    return Trainer(config, task, model, task.build_criterion(config.criterion))


def configuration(*flags: str) -> Any:
    """fairseq's configuration of a training with these flags of fairseq-train."""
    return copy.deepcopy(_configuration(flags))  # a trainer changes its own


@functools.cache  # fairseq takes longer for it than for an update of such a model
def _configuration(flags: tuple[str, ...]) -> Any:
    args = options.parse_args_and_arch(options.get_training_parser(), flags)
    return convert_namespace_to_omegaconf(args)


def make_sample(
    lengths: Sequence[tuple[int, int]] = ((5, 4), (3, 7), (6, 1)),
    seed: int = 0,
    left_pad: bool = False,
    extra_padding: int = 0,
) -> dict[str, Any]:
    """A batch of random sentence pairs of the given (source, target) lengths with their eos.

    ``left_pad`` puts all padding on the left, ``extra_padding`` adds that many columns of it.
    """
    dictionary = make_task().source_dictionary
    generator = torch.Generator().manual_seed(seed)

    def sentence(length: int) -> torch.Tensor:
        words = torch.randint(dictionary.nspecial, VOCABULARY, (length - 1,), generator=generator)
        return torch.cat([words, torch.tensor([dictionary.eos()])])

    def collate(rows: Sequence[torch.Tensor]) -> torch.Tensor:
        width = max(map(len, rows)) + extra_padding
        batch = torch.full((len(rows), width), dictionary.pad())
        for row, tokens in zip(batch, rows):
            start = width - len(tokens) if left_pad else 0
            row[start : start + len(tokens)] = tokens
        return batch

    pairs = [(sentence(source), sentence(target)) for source, target in lengths]
    targets = [target for _, target in pairs]
    return {
        "id": torch.arange(len(pairs)),
        "nsentences": len(pairs),
        "ntokens": sum(map(len, targets)),
        "net_input": {
            "src_tokens": collate([source for source, _ in pairs]),
            "src_lengths": torch.tensor([len(source) for source, _ in pairs]),
            "prev_output_tokens": collate([target.roll(1) for target in targets]),
        },
        "target": collate(targets),
    }


def write_data(folder: Path, lengths: Mapping[str, Sequence[tuple[int, int]]]) -> Path:
    """Write a binarized German-English data set and return its folder.

    ``lengths``: for each subset the (source, target) lengths of its sentences, without eos.
    """
    folder.mkdir(exist_ok=True)
    dictionary = make_task().source_dictionary
    n_words = len(dictionary) - dictionary.nspecial
    for side, language in enumerate(("de", "en")):
        dictionary.save(str(folder / f"dict.{language}.txt"))
        for subset, pairs in lengths.items():
            prefix = folder / f"{subset}.de-en.{language}"
            builder = indexed_dataset.make_builder(f"{prefix}.bin", "mmap", len(dictionary))
            for i, pair in enumerate(pairs):
                words = [(i + (3 + 4 * side) * j) % n_words for j in range(pair[side])]
                sentence = [dictionary.nspecial + word for word in words]
                builder.add_item(torch.IntTensor([*sentence, dictionary.eos()]))
            builder.finalize(f"{prefix}.idx")
    return folder


def draw_dropout_as_fairseq(monkeypatch: Any) -> None:
    """Let an exposing model drop what fairseq's drops with the same seed."""
    monkeypatch.setattr(
        dropout, "keep_mask", lambda x, p: torch.empty_like(x).bernoulli_(1 - p).bool()
    )


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def run(criterion: Any, model: Any, sample: Any, seed: int = 3) -> Any:
    """One training step's forward and backward: (loss, logging output, all gradients)."""
    model.zero_grad(set_to_none=True)
    torch.manual_seed(seed)
    loss, _, log = criterion(model, sample)
    loss.backward()
    return loss.detach(), log, gradients(model)


def assert_same(actual: Any, expected: Any, factor: float = 1.0, **tolerance: Any) -> None:
    """Compare loss and every gradient of two results of :func:`run`; ``factor`` times actual."""
    tolerance = {"check_dtype": False, **tolerance}  # fairseq's losses are always float32
    torch.testing.assert_close(factor * actual[0], expected[0], **tolerance)
    assert actual[2].keys() == expected[2].keys()
    for name, gradient in expected[2].items():
        torch.testing.assert_close(
            factor * actual[2][name], gradient, **tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


def write_public_file(path: Path, args: Namespace, state: Any) -> None:
    """Write a checkpoint like the public pretrained ones: its five entries, as far as fairseq
    needs them."""
    history = dict(criterion_name="CrossEntropyCriterion", optimizer_name="FP16Optimizer",
                   best_loss=1.5, num_updates=500000)  # fmt: skip
    iterator = dict(epoch=40, iterations_in_epoch=0)
    entries = dict(
        args=args, model=OrderedDict(state), optimizer_history=[history],
        extra_state=dict(train_iterator=iterator, val_loss=1.5), last_optimizer_state=None,
    )  # fmt: skip
    torch.save(entries, path)


def checkpoint_of(trainer: Any, path: Path) -> dict[str, Any]:
    """What a trainer saves."""
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(str(path), {"train_iterator": {"epoch": 1}})
    state: dict[str, Any] = load(path)
    return state
