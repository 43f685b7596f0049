"""Tiny language models, their batches and binarized data for the tests."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.data import indexed_dataset
from fairseq.data.monolingual_dataset import collate
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from fairseq.models.transformer_lm import TransformerLanguageModelConfig
from fairseq.tasks.language_modeling import LanguageModelingTask
from fairseq.trainer import Trainer

from tests.toy import STRONG, VOCABULARY, configuration
from tests.toy import make_task as make_translation_task

SIZES = dict(
    decoder_embed_dim=16, decoder_input_dim=16, decoder_output_dim=16, decoder_ffn_embed_dim=24,
    decoder_layers=3, decoder_attention_heads=4,
)  # fmt: skip
# Three bands of words, an input and an output of tied weights, as transformer_lm_wiki103 has them.
ADAPTIVE: dict[str, Any] = dict(
    adaptive_softmax_cutoff="10,20", adaptive_softmax_factor=2, adaptive_input=True,
    adaptive_input_cutoff="10,20", adaptive_input_factor=2, tie_adaptive_weights=True,
)  # fmt: skip
TIED_PROJECTIONS = {**ADAPTIVE, "tie_adaptive_proj": True}


def make_language_task(**values: Any) -> LanguageModelingTask:
    args = Namespace(data=None, tokens_per_sample=64, **values)
    return LanguageModelingTask(args, make_translation_task().source_dictionary)


def make_language_model(arch: str = "lr_drop_transformer_lm", seed: int = 1, **values: Any) -> Any:
    """A model in training mode with the sizes above; ``values`` as on the command line."""
    defaults = vars(TransformerLanguageModelConfig())
    plain = {k: v for k, v in defaults.items() if not str(v).startswith("${")}
    args = Namespace(**{**plain, "tokens_per_sample": 64, **SIZES, "arch": arch, **values})
    ARCH_CONFIG_REGISTRY[arch](args)
    torch.manual_seed(seed)
    return ARCH_MODEL_REGISTRY[arch].build_model(args, make_language_task()).train()


def make_language_criterion(
    name: str = "lr_drop_cross_entropy", task: Any = None, **values: Any
) -> Any:
    values = {"sentence_avg": False, **values}
    if name.startswith("lr_drop_"):
        values = {**STRONG, **values}
    return CRITERION_REGISTRY[name](task or make_language_task(), **values)


def make_text_batch(
    lengths: Sequence[int] = (5, 3, 7), seed: int = 0, extra_padding: int = 0
) -> dict[str, Any]:
    """A batch of the task: random texts, the source one token behind the target."""
    dictionary = make_translation_task().source_dictionary
    generator = torch.Generator().manual_seed(seed)

    def item(number: int, length: int) -> dict[str, Any]:
        tokens = torch.randint(dictionary.nspecial, VOCABULARY, (length,), generator=generator)
        tokens[-1] = dictionary.eos()
        return {"id": number, "source": tokens.roll(1), "target": tokens}

    items = [item(number, length) for number, length in enumerate(lengths)]
    return collate(
        items, dictionary.pad(), dictionary.eos(), fixed_pad_length=max(lengths) + extra_padding
    )


def make_language_trainer(*flags: str, seed: int = 1) -> Trainer:
    """fairseq's trainer of a model and criterion as above; ``flags`` as of fairseq-train."""
    arguments = ["no-data", "--task=language_modeling", "--max-tokens=100", "--log-format=none"]
    arguments += ["--tokens-per-sample=64", "--arch=lr_drop_transformer_lm"]
    if not any(flag.startswith("--criterion=") for flag in flags):
        arguments += ["--criterion=lr_drop_cross_entropy"]
        arguments += [f"--{name.replace('_', '-')}={value}" for name, value in STRONG.items()]
    arguments += ["--optimizer=adam", "--lr=1e-3", "--lr-scheduler=fixed"]
    arguments += [f"--{name.replace('_', '-')}={size}" for name, size in SIZES.items()]
    config = configuration(*arguments, *flags)
    task = make_language_task()
    torch.manual_seed(seed)
    model = task.build_model(config.model)
    return Trainer(config, task, model, task.build_criterion(config.criterion))


def write_text_data(folder: Path, lengths: Mapping[str, Sequence[int]]) -> Path:
    """Write binarized text and return its folder.

    ``lengths``: for each subset those of its sentences, without eos.
    """
    folder.mkdir(exist_ok=True)
    dictionary = make_translation_task().source_dictionary
    n_words = len(dictionary) - dictionary.nspecial
    dictionary.save(str(folder / "dict.txt"))
    for subset, sentences in lengths.items():
        builder = indexed_dataset.make_builder(
            str(folder / f"{subset}.bin"), "mmap", len(dictionary)
        )
        for i, length in enumerate(sentences):
            words = [dictionary.nspecial + (i + 3 * j) % n_words for j in range(length)]
            builder.add_item(torch.IntTensor([*words, dictionary.eos()]))
        builder.finalize(str(folder / f"{subset}.idx"))
    return folder
