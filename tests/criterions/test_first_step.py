"""What would fail where the terms start is refused before, and the rehearsal changes nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fairseq.models.transformer import TransformerModel
from torch import Tensor, nn

from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.criterions import first_step
from lrdrop_fairseq.criterions.label_smoothed_cross_entropy import (
    LRDropLabelSmoothedCrossEntropyCriterion as Criterion,
)
from lrdrop_fairseq.criterions.schedule import UpdateCounter
from lrdrop_fairseq.criterions.siamese_criterion import SiameseCriterion
from tests.compat import test_run_state
from tests.compat.test_run_state import FLAGS, run, updates

OURS = [*FLAGS, *"--criterion lr_drop_label_smoothed_cross_entropy --max-update 4".split()]
LATE = ["--arch", "lr_drop_transformer", "--lr-drop-start", "2"]


@pytest.mark.parametrize("start", ["0", "2"])
def test_a_model_without_states_is_refused_and_not_saved(
    data: Path, tmp_path: Path, start: str
) -> None:
    """fairseq saves what fails in an update, with its optimizer, as crash.pt."""
    with pytest.raises(Refused, match="TransformerModel exposes no layer states"):
        run(data, tmp_path, *OURS, "--arch", "transformer", "--lr-drop-start", start)
    assert not list(tmp_path.glob("*.pt"))


def test_what_the_plain_updates_would_not_notice_is_refused_before_them(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = TransformerModel.forward

    def three(self: Any, *args: Any, **kwargs: Any) -> Any:
        return (*forward(self, *args, **kwargs), None)

    monkeypatch.setattr(TransformerModel, "forward", three)
    with pytest.raises(ValueError, match="returns something else than"):
        run(data, tmp_path, *OURS, *LATE)
    assert not list(tmp_path.glob("*.pt"))


def test_a_rehearsed_training_is_the_same_training(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsed = run(data, tmp_path / "rehearsed", *OURS, *LATE)
    monkeypatch.setattr(SiameseCriterion, "rehearse", lambda *_: None)
    not_rehearsed = run(data, tmp_path / "not", *OURS, *LATE)
    assert updates(rehearsed) == 4
    for name, value in not_rehearsed["model"].items():
        assert torch.equal(value, rehearsed["model"][name]), name


class Noisy(nn.Module):
    """Changes its weights, its buffers and the random numbers, as some layers do in training."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 3), nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.linear.weight.data = self.linear.weight.data * torch.rand(3, 3)
        result: Tensor = self.norm(self.linear(x))
        return result


def test_a_rehearsal_leaves_the_model_and_the_random_numbers_as_they_were() -> None:
    model = Noisy().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    with pytest.raises(KeyError), first_step.rehearsal(model):
        model.train()
        assert not model(torch.randn(4, 3)).requires_grad
        assert not torch.equal(model.linear.weight, before["linear.weight"])
        assert not torch.equal(model.norm.running_mean, before["norm.running_mean"])
        raise KeyError
    assert torch.equal(torch.get_rng_state(), state) and not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_full_memory_where_the_terms_start_ends_the_training_in_words(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fairseq would leave out batch after batch, without end."""
    original = Criterion.siamese_forward

    def siamese_forward(self: Any, model: Any, sample: Any) -> Any:
        if torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return original(self, model, sample)

    monkeypatch.setattr(Criterion, "siamese_forward", siamese_forward)
    with pytest.raises(Refused, match=r"half of --max-tokens .* twice --update-freq.*2.00 GiB"):
        run(data, tmp_path, *OURS, *LATE)


def test_a_batch_that_does_not_fit_is_fairseqs_to_leave_out_before_and_after_that() -> None:
    error = RuntimeError("CUDA out of memory")

    def train_step(sample: str, model: Any, criterion: Any, optimizer: Any, update_num: int) -> str:
        if sample == "too long":
            raise error
        return "done"

    def step(task: Any, sample: str, update: int) -> Any:
        return task.train_step(
            sample=sample, model=None, criterion=None, optimizer=None, update_num=update
        )

    def begin() -> Any:
        task = SimpleNamespace(train_step=train_step)
        first_step.explain_full_memory(task, UpdateCounter(task), start=2)
        return task

    def is_left_out(task: Any, update: int) -> None:
        with pytest.raises(RuntimeError) as caught:
            step(task, "too long", update)
        assert caught.value is error

    task = begin()
    assert step(task, "short", 1) == "done"
    is_left_out(task, 1)
    assert step(task, "short", 2) == "done"  # the first batch of several (--update-freq)
    for _ in range(2):  # fairseq begins the update anew, without end
        with pytest.raises(Refused):
            step(task, "too long", 2)
    is_left_out(task, 3)
    is_left_out(begin(), 3)  # resumed: there have been updates with terms


def test_a_task_with_a_model_for_each_pair_of_languages_trains(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its batch holds a sample for each; its own train_step hands them to the criterion."""
    bilingual = ("--task", "translation", "--source-lang", "de", "--target-lang", "en")
    monkeypatch.setattr(test_run_state, "FLAGS", [x for x in FLAGS if x not in bilingual])
    flags = "--task multilingual_translation --lang-pairs de-en,en-de"
    flags += " --arch multilingual_transformer --lr-drop-start 2"
    flags += " --lr-drop-hidden-weight 0 --lr-drop-attention-weight 0"
    ours = OURS[len(FLAGS) :]
    assert updates(run(data, tmp_path, *ours, *flags.split())) == 4


def test_a_loss_that_is_no_number_is_said_before_the_first_update(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = Criterion.siamese_forward

    def siamese_forward(self: Any, model: Any, sample: Any) -> Any:
        loss, *others = original(self, model, sample)
        return (loss * float("nan"), *others)

    monkeypatch.setattr(Criterion, "siamese_forward", siamese_forward)
    run(data, tmp_path, *OURS, *LATE, "--max-update", "1")
    assert "the loss with LR-Drop's terms is nan" in caplog.text
