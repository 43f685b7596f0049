"""Checkpoints in the format of the public BART and RoBERTa files load and are fine-tuned."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY, build_model
from fairseq.trainer import Trainer
from omegaconf import OmegaConf

from tests.toy import configuration, make_sample, make_task, write_public_file
from tests.toy_sentences import HEAD, make_sentence_task, make_sentences

pytestmark = pytest.mark.slow

SIZES = dict(
    encoder_embed_dim=16,
    encoder_ffn_embed_dim=24,
    encoder_layers=2,
    encoder_attention_heads=2,
)
BART_SIZES = dict(decoder_layers=2, decoder_attention_heads=2)
RESET = dict(reset_optimizer=True, reset_lr_scheduler=True, reset_meters=True)
# Options of the time, as a plain Namespace; names of then that fairseq has renamed since.
OLD = dict(
    adam_betas="(0.9, 0.98)", clip_norm=0.0, criterion="cross_entropy", fp16=True, lazy_load=False,
    lr=[4e-4], lr_scheduler="polynomial_decay", max_tokens=3200, min_lr=-1, optimizer="adam",
    raw_text=False, remove_bpe=None, seed=1, tokens_per_sample=62, update_freq=[1],
)  # fmt: skip


def flags(sizes: dict[str, int]) -> list[str]:
    return [f"--{name.replace('_', '-')}={size}" for name, size in sizes.items()]


def make_trainer(task: Any, *arguments: str) -> Trainer:
    common = ["no-data", "--max-tokens=100", "--optimizer=adam", "--lr=1e-3", "--dropout=0.1"]
    config = configuration(*common, "--log-format=none", *arguments)
    torch.manual_seed(7)
    model = task.build_model(config.model)
    return Trainer(config, task, model, task.build_criterion(config.criterion))


def pretrained(arch: str, task: Any, **sizes: int) -> tuple[Namespace, Any]:
    args = Namespace(arch=arch, **OLD, **sizes)
    ARCH_CONFIG_REGISTRY[arch](args)
    torch.manual_seed(5)
    return args, ARCH_MODEL_REGISTRY[arch].build_model(args, task).state_dict()


@pytest.fixture
def bart(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A file like ``bart.large/model.pt``, and the parameters it holds under today's names.

    The tied output projection is not in it; the vocabulary has ``<mask>`` as its last word.
    """
    task = make_task()
    task.source_dictionary.add_symbol("<mask>")
    args, state = pretrained("bart_large", task, **SIZES, **BART_SIZES)
    args.task = "denoising"
    # encoder.version and decoder.version are among them already
    written = {k: v for k, v in state.items() if k != "decoder.output_projection.weight"}
    write_public_file(tmp_path / "model.pt", args, written)
    return tmp_path / "model.pt", state


@pytest.mark.parametrize("arch", ["lr_drop_bart_large", "lr_drop_bart_base"])
@pytest.mark.parametrize("mask", [True, False], ids=["with <mask>", "without <mask>"])
def test_bart(bart: Any, arch: str, mask: bool, tmp_path: Path) -> None:
    """Fine-tuning starts from it, and what it saves loads into fairseq's own BART."""
    path, expected = bart
    task = make_task()
    if mask:
        task.source_dictionary.add_symbol("<mask>")
    sizes = flags({**SIZES, **BART_SIZES})
    criterion = "--criterion=lr_drop_label_smoothed_cross_entropy"
    trainer = make_trainer(task, "--task=translation", f"--arch={arch}", criterion,
                           "--lr-drop-start=0", *sizes)  # fmt: skip
    trainer.load_checkpoint(str(path), **RESET)
    words = len(task.source_dictionary)
    for name, parameter in trainer.model.named_parameters():
        loaded = expected[name][:words] if "embed_tokens" in name else expected[name]
        assert torch.equal(parameter, loaded), name
    log = trainer.train_step([make_sample()])
    assert log["hidden_loss"] > 0 and log["attention_loss"] > 0 and log["output_loss"] > 0
    trainer.consolidate_optimizer()  # fairseq calls it before every save
    trainer.save_checkpoint(str(tmp_path / "tuned.pt"), {"train_iterator": {"epoch": 1}})
    stock = make_trainer(task, "--task=translation", "--arch=bart_base", *sizes,
                         "--criterion=label_smoothed_cross_entropy")  # fmt: skip
    stock.load_checkpoint(str(tmp_path / "tuned.pt"), **RESET)
    for (name, mine), other in zip(
        trainer.model.named_parameters(), stock.model.parameters(), strict=True
    ):
        assert torch.equal(mine, other), name


def test_bart_from_yaml() -> None:
    """What fairseq's own BART cannot: load a checkpoint, and have a head for sentences."""
    task = make_sentence_task()
    sizes = {**SIZES, **BART_SIZES}
    cfg = OmegaConf.create({"_name": "lr_drop_bart_base", "pooler_dropout": 0.4, **sizes})
    model = build_model(cfg, task)
    model.register_classification_head(HEAD, num_classes=3)
    assert model.classification_heads[HEAD].dropout.p == 0.4
    model.load_state_dict(model.state_dict(), model_cfg=cfg)
    assert model.encoder.layernorm_embedding is not None, "the architecture's own options"


def old_roberta_names(state: Any) -> Any:
    """``decoder.`` for ``encoder.``, ``emb_layer_norm``, one matrix for query, key and value."""
    old: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        name = name.replace("encoder.", "decoder.", 1)
        name = name.replace("layernorm_embedding", "emb_layer_norm")
        for part in ("weight", "bias"):
            if name.endswith(f"q_proj.{part}"):
                parts = [state[_now(name).replace("q_proj", f"{x}_proj")] for x in "qkv"]
                old[name.replace(f"q_proj.{part}", f"in_proj_{part}")] = torch.cat(parts)
        if not any(f".{x}_proj." in name for x in "qkv"):
            old[name] = value
    return old


def _now(name: str) -> str:
    return name.replace("decoder.", "encoder.", 1)


@pytest.mark.parametrize("names", ["today's", "old"])
@pytest.mark.parametrize("arch", ["lr_drop_roberta_base", "lr_drop_roberta_large"])
def test_roberta(names: str, arch: str, tmp_path: Path) -> None:
    """Files of either age; those of BERT-style models that fairseq trained have the old names."""
    task = make_sentence_task()
    args, state = pretrained("roberta_large", task, **SIZES)
    args.task = "masked_lm"
    assert not any(name.startswith("classification_heads") for name in state)
    old = old_roberta_names(state) if names == "old" else state
    if names == "old":
        assert "decoder.sentence_encoder.layers.0.self_attn.in_proj_weight" in old
        assert "decoder.sentence_encoder.emb_layer_norm.weight" in old
    write_public_file(tmp_path / "model.pt", args, old)
    criterion = "--criterion=lr_drop_sentence_prediction"
    trainer = make_trainer(task, "--task=sentence_prediction", f"--arch={arch}", criterion,
                           *flags(SIZES), "--num-classes=3")  # fmt: skip
    trainer.load_checkpoint(str(tmp_path / "model.pt"), **RESET)
    for name, parameter in trainer.model.named_parameters():
        assert name.startswith("classification_heads") or torch.equal(parameter, state[name]), name
    log = trainer.train_step([make_sentences()])
    assert log["hidden_loss"] > 0 and log["attention_loss"] > 0 and log["output_loss"] > 0
    trainer.consolidate_optimizer()  # fairseq calls it before every save
    trainer.save_checkpoint(str(tmp_path / "tuned.pt"), {"train_iterator": {"epoch": 1}})
    stock = make_trainer(task, "--task=sentence_prediction", "--arch=roberta_base", *flags(SIZES),
                         "--criterion=sentence_prediction", "--num-classes=3")  # fmt: skip
    stock.load_checkpoint(str(tmp_path / "tuned.pt"), **RESET)
    for (name, mine), other in zip(
        trainer.model.named_parameters(), stock.model.parameters(), strict=True
    ):
        assert torch.equal(mine, other), name
    assert HEAD in stock.model.classification_heads
