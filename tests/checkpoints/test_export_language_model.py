"""Exported language models: the parent's architecture and criterion, and the same next update."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.models import ARCH_CONFIG_REGISTRY
from fairseq.models.transformer_lm import TransformerLanguageModel

from lrdrop_fairseq.checkpoints import export as exporting
from lrdrop_fairseq.checkpoints.export import export
from lrdrop_fairseq.checkpoints.export_options import ExportError
from tests.toy import checkpoint_of
from tests.toy_language import make_language_trainer, make_text_batch

OFF = [f"--lr-drop-{term}-weight=0" for term in ("hidden", "attention", "output")]
BANDS = ["--adaptive-softmax-cutoff=10,20", "--adaptive-input", "--adaptive-input-cutoff=10,20",
         "--adaptive-softmax-factor=2", "--adaptive-input-factor=2",
         "--tie-adaptive-weights"]  # fmt: skip


@pytest.mark.parametrize("bands", [False, True])
def test_the_next_update_is_that_of_the_plain_criterion(tmp_path: Path, bands: bool) -> None:
    """To the last bit: of LR-Drop with all weights 0, and of fairseq after the export."""
    model = BANDS if bands else []
    trainer = make_language_trainer("--dropout=0.1", *model)
    trainer.train_step([make_text_batch()])
    exported = export(checkpoint_of(trainer, tmp_path / "lr_drop.pt"))
    assert exported["args"].arch == "transformer_lm"
    name, cls = ("adaptive_loss", "AdaptiveLoss") if bands else (
        "cross_entropy", "CrossEntropyCriterion"
    )  # fmt: skip
    assert exported["args"].criterion == name
    assert exported["optimizer_history"][-1]["criterion_name"] == cls
    torch.save(exported, tmp_path / "plain.pt")
    parent = ["--arch=transformer_lm", f"--criterion={name}", "--ddp-backend=legacy_ddp"]
    batch, results = make_text_batch(seed=5), []
    for word in (11, 21):  # which adaptive_loss leaves out, see losses/adaptive.py
        batch["target"][batch["target"] == word] = 9
    for name, flags in {"lr_drop.pt": OFF, "plain.pt": parent}.items():
        trainer = make_language_trainer("--dropout=0.1", *model, *flags, seed=2)
        trainer.load_checkpoint(str(tmp_path / name))
        assert trainer.get_num_updates() == 1
        trainer.train_step([batch])
        results.append(trainer.model.state_dict())
    assert type(trainer.get_model()) is TransformerLanguageModel
    for key, value in results[0].items():
        if not key.endswith("_float_tensor"):
            assert torch.equal(value, results[1][key]), key


@pytest.mark.parametrize("suffix", ["", "_big", "_wiki103", "_gpt", "_gpt2_small"])
def test_architectures(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "check_parameters", lambda options, parameters: None)
    arch = f"lr_drop_transformer_lm{suffix}"
    options = argparse.Namespace(arch=arch, criterion="lr_drop_cross_entropy", task=None)
    options.tokens_per_sample = 3072
    history = [{"criterion_name": "LRDropCrossEntropyCriterion", "num_updates": 1}]
    checkpoint: dict[str, Any] = {"model": {}, "args": options, "extra_state": {}}
    result = export({**checkpoint, "optimizer_history": history})["args"]
    # Two names of fairseq for one architecture.
    assert result.arch.replace("baevski_", "") == f"transformer_lm{suffix}"
    assert result.criterion == ("adaptive_loss" if "wiki" in suffix else "cross_entropy")
    assert result.tokens_per_sample == 3072
    expected = argparse.Namespace()
    ARCH_CONFIG_REGISTRY[arch](expected)
    assert {key: result[key] for key in vars(expected)} == vars(expected)


def test_parameters_that_are_not_those_of_the_model(tmp_path: Path) -> None:
    trainer = make_language_trainer("--dropout=0.1", *BANDS)
    trainer.train_step([make_text_batch()])
    checkpoint = checkpoint_of(trainer, tmp_path / "c.pt")
    name = "decoder.layers.1.fc1.bias"
    without = {key: value for key, value in checkpoint["model"].items() if key != name}
    with pytest.raises(ExportError, match=f'not those of transformer_lm: Missing .* "{name}"'):
        export({**checkpoint, "model": without})
    damaged = {**checkpoint["model"], name: torch.full((24,), float("nan"))}
    with pytest.raises(ExportError, match=f"parameter {name} holds values that are not finite"):
        export({**checkpoint, "model": damaged})
    # What nobody reads may be anything: fairseq's own models save memory as it was.
    number = "decoder.embed_tokens._float_tensor"
    assert number in checkpoint["model"]
    unread = {**checkpoint["model"], number: torch.full((1,), float("nan"))}
    assert export({**checkpoint, "model": unread})["args"].arch == "transformer_lm"
