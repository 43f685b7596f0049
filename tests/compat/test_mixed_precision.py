"""The repair of lrdrop_fairseq.compat.mixed_precision: faults are there without, gone with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.optim import AMPOptimizer, fp16_optimizer
from fairseq.trainer import Trainer

from tests import toy
from tests.compat.common import without

MIXED = fp16_optimizer._FP16OptimizerMixin
MEMORY_EFFICIENT = fp16_optimizer._MemoryEfficientFP16OptimizerMixin
# The scale grows at every second update, so that it shows from where its updates are counted.
FP16 = ["--fp16", "--fp16-scale-window=2"]
FLAGS = {
    "bf16": ["--bf16"],
    "memory-efficient bf16": ["--bf16", "--memory-efficient-bf16"],
    "fp16, one flat tensor": FP16,
    "fp16, a tensor a parameter": [*FP16, "--fp16-no-flatten-grads"],
    "memory-efficient fp16": [*FP16, "--memory-efficient-fp16"],
}


@pytest.fixture(autouse=True)
def no_gpu_for_flat_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """fairseq names the flat tensor after the current GPU; that of a CPU is None."""
    monkeypatch.setattr(torch.cuda, "current_device", lambda: None)


def trained(trainer: Trainer, first: int) -> Trainer:
    """The same after three more updates, counted from ``first``."""
    for seed in range(first, first + 3):
        trainer.train_step([toy.make_sample(((5 + seed % 3, 4), (3, 7)), seed=seed)])
    return trainer


def save(trainer: Trainer, path: Path) -> dict[str, Any]:
    trainer.consolidate_optimizer()
    iterator = {"epoch": 1, "version": 2, "iterations_in_epoch": 3}
    trainer.save_checkpoint(str(path), {"train_iterator": iterator, "val_loss": None})
    return torch.load(path)


def resume(path: Path, *flags: str) -> Trainer:
    trainer = toy.make_trainer("--cpu", *flags, seed=2)
    trainer.load_checkpoint(str(path))
    return trainer


def differing(one: Trainer, other: Trainer) -> list[str]:
    """Parameters that are not equal to the last bit, and the loss scale if it is another."""
    weights, others = one.model.state_dict(), other.model.state_dict()
    names = [name for name, weight in weights.items() if not weight.equal(others[name])]
    scales = [getattr(trainer.optimizer.scaler, "loss_scale", None) for trainer in (one, other)]
    return names + (["the loss scale"] if scales[0] != scales[1] else [])


@pytest.mark.parametrize("flags", FLAGS.values(), ids=list(FLAGS))
def test_a_resumed_run_is_the_uninterrupted_one(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(toy.make_trainer("--cpu", *flags), 0)
    save(whole, tmp_path / "now.pt")
    with monkeypatch.context() as fairseqs_own:
        for kind in (MIXED, MEMORY_EFFICIENT):
            fairseqs_own.setattr(kind, "state_dict", without(kind.state_dict))
        save(whole, tmp_path / "before.pt")

    trained(whole, 3)
    assert differing(whole, trained(resume(tmp_path / "now.pt", *flags), 3)) == []
    faulty = differing(whole, trained(resume(tmp_path / "before.pt", *flags), 3))
    if flags == FLAGS["memory-efficient bf16"]:
        assert faulty == []  # all is saved
    elif flags == FLAGS["memory-efficient fp16"]:
        assert faulty == ["the loss scale"]
    else:
        assert len(faulty) > 80


def test_fairseq_reads_over_what_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(toy.make_trainer("--cpu", "--bf16"), 0)
    state = save(whole, tmp_path / "checkpoint.pt")["last_optimizer_state"]
    assert set(state) == {"state", "param_groups", "fp32_params"}
    monkeypatch.setattr(MIXED, "load_state_dict", without(MIXED.load_state_dict))
    plain = resume(tmp_path / "checkpoint.pt", "--bf16")
    assert differing(whole, plain) == []
    masters = plain.optimizer.fp32_params
    assert all(master.equal(master.bfloat16().float()) for master in masters)  # rounded


def test_a_model_that_was_changed_in_the_checkpoint_counts(tmp_path: Path) -> None:
    """One parameter wholly another: its master weights are the new ones, all others the saved."""
    whole = trained(toy.make_trainer("--cpu", "--bf16"), 0)
    state = save(whole, tmp_path / "checkpoint.pt")
    name = "encoder.layers.0.fc1.weight"
    state["model"][name].fill_(0.5)
    torch.save(state, tmp_path / "checkpoint.pt")
    resumed = resume(tmp_path / "checkpoint.pt", "--bf16")
    names = [name for name, _ in resumed.model.named_parameters()]
    before = dict(zip(names, whole.optimizer.fp32_params))
    after = dict(zip(names, resumed.optimizer.fp32_params))
    assert after.pop(name).eq(0.5).all() and not before.pop(name).eq(0.5).any()
    assert all(after[other].equal(before[other]) for other in before)


def test_master_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    optimizer = toy.make_trainer("--cpu", "--bf16").optimizer
    state = optimizer.state_dict()
    state["fp32_params"] = state["fp32_params"][1:]
    with pytest.raises(ValueError, match="other shapes.*--reset-optimizer"):
        optimizer.load_state_dict(state)


def test_the_loss_scale_of_amp_is_kept() -> None:
    """fairseq's is for a GPU; torch has the same one for a CPU."""

    def make_optimizer() -> Any:
        weight = torch.nn.Parameter(torch.ones(2))
        optimizer = toy.make_trainer("--cpu", "--amp", "--fp16-scale-window=2").optimizer
        assert isinstance(optimizer, AMPOptimizer) and optimizer.state_dict()["grad_scaler"] == {}
        optimizer._grad_scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)
        optimizer.scaler.scale(weight.sum())  # makes its tensors
        return optimizer

    one, other = make_optimizer(), make_optimizer()
    one.scaler._scale.fill_(64.0)
    one.scaler._growth_tracker.fill_(1)
    assert "grad_scaler" not in without(AMPOptimizer.state_dict)(one)
    other.load_state_dict(one.state_dict())
    assert other.scaler.state_dict() == one.scaler.state_dict()
    assert (other.scaler.get_scale(), other.scaler._get_growth_tracker()) == (64.0, 1)
