"""The repairs of compat.run_state and compat.schedules: when runs end, resume and do nothing."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.trainer import Trainer
from fairseq_cli import train
from omegaconf import OmegaConf

from lrdrop_fairseq.compat import early_stopping, run_state
from lrdrop_fairseq.compat.refusals import Refused
from tests.compat.common import TRAIN, without
from tests.test_save_dir_lock import held
from tests.toy import configuration, write_data

FLAGS = [flag for flag in TRAIN if flag not in ("--eval-bleu", "--best-checkpoint-metric", "bleu")]
FLAGS += "--seed 1 --log-format none --no-epoch-checkpoints --dropout 0.1".split()
# Six updates an epoch, and so fast that the loss on the validation set soon rises.
PATIENCE = "--patience 2 --max-update 60 --lr 0.5".split()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lengths = [(1 + i % 7, 1 + i % 5) for i in range(48)]
    folder = tmp_path_factory.mktemp("data")
    return write_data(folder, {"train": lengths, "valid": lengths[5:16]})


@pytest.fixture(autouse=True)
def no_counters() -> None:
    as_in_a_new_process()


def as_in_a_new_process() -> None:
    """None of fairseq's counters is left from another training."""
    for function in (train.should_stop_early, checkpoint_utils.save_checkpoint):
        for name in ("best", "num_runs"):
            vars(function).pop(name, None)


class Killed(BaseException):
    """The process ends here."""


def run(data: Path, save_dir: Path, *flags: str, kill_in: int | None = None) -> dict[str, Any]:
    """Train as fairseq-train does, killed in update ``kill_in``; the last checkpoint."""
    config = configuration(str(data), *FLAGS, *flags)
    config.checkpoint.save_dir = str(save_dir)
    original = Trainer.train_step

    def train_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.get_num_updates() + 1 == kill_in:
            raise Killed
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "train_step", train_step)
        if kill_in is None:
            train.main(config)
        else:
            with pytest.raises(Killed):
                train.main(config)
    last: dict[str, Any] = checkpoint_utils.load_checkpoint_to_cpu(
        str(save_dir / "checkpoint_last.pt")
    )
    return last


def updates(checkpoint: dict[str, Any]) -> int:
    return int(checkpoint["optimizer_history"][-1]["num_updates"])


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """As many updates, and the same parameters to the last bit."""
    assert updates(one) == updates(other)
    assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"])


def unrepaired(patch: pytest.MonkeyPatch, *names: str) -> None:
    """fairseq's own methods of the trainer."""
    for name in names:
        patch.setattr(Trainer, name, without(getattr(Trainer, name)))


def test_patience_counts_on_across_a_kill(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(data, tmp_path / "whole", *PATIENCE)
    ended = updates(whole)
    assert ended < 60 and whole["extra_state"][early_stopping.IN_CHECKPOINT]["num_runs"] == 2
    run(data, tmp_path / "killed", *PATIENCE, kill_in=ended - 2)
    assert_same(run(data, tmp_path / "killed", *PATIENCE), whole)

    unrepaired(monkeypatch, "save_checkpoint", "load_checkpoint")
    as_in_a_new_process()
    run(data, tmp_path / "without", *PATIENCE, kill_in=ended - 2)
    as_in_a_new_process()
    assert updates(run(data, tmp_path / "without", *PATIENCE)) > ended


ENDS = {
    "validations without improvement, --patience is 2": PATIENCE,
    "3 updates are done, --max-update is 3": ["--max-update=3"],
    "3 updates are done, --max-update": ["--max-update=3", "--no-save-optimizer-state"],
    "1 epochs are done, --max-epoch is 1": ["--max-epoch=1", "--max-update=0"],
    "hours, --stop-time-hours is 1e-09": ["--stop-time-hours=1e-9", "--max-update=0"],
    "current learning rate (0.001) is smaller": ["--stop-min-lr=0.002", "--max-update=99"],
}


@pytest.mark.parametrize("reason", ENDS)
def test_a_run_that_ended_does_nothing(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, reason: str
) -> None:
    """The same command again says what ended it, trains nothing and touches no file."""
    flags = ["--keep-last-epochs=1", *ENDS[reason]]
    if "--stop-min-lr=0.002" in flags:  # which fairseq compares before an epoch, the first too
        run(data, tmp_path, "--max-epoch=1", "--max-update=0")
    else:
        run(data, tmp_path, *flags)
    (tmp_path / "checkpoint1.pt").touch()
    (tmp_path / "checkpoint2.pt").touch()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")}
    caplog.clear()
    with caplog.at_level(logging.INFO):
        run(data, tmp_path, *flags)
    assert reason in caplog.text and "begin training epoch" not in caplog.text
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")} == before


def test_a_run_that_ended_goes_on_with_a_higher_limit(data: Path, tmp_path: Path) -> None:
    whole = run(data, tmp_path / "whole", "--patience=3", *PATIENCE[2:])
    run(data, tmp_path / "parts", *PATIENCE)
    assert_same(run(data, tmp_path / "parts", "--patience=3", *PATIENCE[2:]), whole)


def test_without_an_optimizer_the_updates_are_counted_on(data: Path, tmp_path: Path) -> None:
    flags = ["--max-update=8", "--no-save-optimizer-state"]
    run(data, tmp_path, *flags, kill_in=7)
    last = run(data, tmp_path, *flags)
    assert updates(last) == 8 and last["extra_state"]["train_iterator"]["epoch"] == 2


def test_a_second_training_in_one_process_begins_anew(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in fairseq-hydra-train --multirun: the best score of one is none of the next."""

    def worse(folder: str) -> dict[str, Any]:
        return run(data, tmp_path / folder, "--lr=1e-9", "--max-update=1")["extra_state"]

    good = run(data, tmp_path / "good", "--lr=0.02", "--max-update=15")["extra_state"]["best"]
    extra_state = worse("next")
    assert good < extra_state["best"] == extra_state["val_loss"]
    checkpoint_utils.save_checkpoint.best = good
    unrepaired(monkeypatch, "load_checkpoint")
    assert worse("without")["best"] == good


PLATEAU = "--lr-scheduler reduce_lr_on_plateau --lr-shrink 0.5 --lr-patience 1 --lr 0.5".split()
PLATEAU += ["--max-update=0", "--max-epoch=4"]


def test_the_plateau_is_found_where_it_was(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs 2 and 3 are worse than 1, so epoch 4 has half the rate: after a kill in its first
    update too, before the scheduler's step is in any checkpoint."""

    def lr(checkpoint: dict[str, Any]) -> float:
        return float(checkpoint["last_optimizer_state"]["param_groups"][0]["lr"])

    whole = run(data, tmp_path / "whole", *PLATEAU)
    assert lr(whole) == 0.25
    for update in (13, 19):
        assert lr(run(data, tmp_path / "killed", *PLATEAU, kill_in=update)) == 0.5
    shutil.copytree(tmp_path / "killed", tmp_path / "without")
    assert_same(run(data, tmp_path / "killed", *PLATEAU), whole)

    unrepaired(monkeypatch, "load_checkpoint")
    assert lr(run(data, tmp_path / "without", *PLATEAU)) == 0.5


def test_the_lowest_learning_rate_is_compared_between_epochs(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that resumes where the rate is low already finishes the epoch, as without a kill."""
    flags = "--lr-scheduler polynomial_decay --total-num-update 10 --max-update 0".split()
    flags += ["--stop-min-lr=0.0007", "--save-interval-updates=1", "--keep-interval-updates=1"]
    whole = run(data, tmp_path / "whole", *flags)
    assert updates(whole) == 6
    run(data, tmp_path / "killed", *flags, kill_in=6)
    monkeypatch.setattr(run_state, "_compare_lr_when_the_epoch_has_ended", lambda trainer: None)
    assert updates(run(data, tmp_path / "killed", *flags)) == 5
    monkeypatch.undo()
    assert_same(run(data, tmp_path / "killed", *flags), whole)


def test_the_hours_of_the_pretraining_are_not_those_of_fine_tuning(
    data: Path, tmp_path: Path
) -> None:
    state = run(data, tmp_path, "--max-update=1")
    state["extra_state"]["previous_training_time"] = 20 * 3600
    torch.save(state, tmp_path / "model.pt")
    flags = [f"--finetune-from-model={tmp_path}/model.pt", "--stop-time-hours=10"]
    assert updates(run(data, tmp_path / "fine", *flags, "--max-update=2")) == 2


def test_a_second_training_in_the_folder_is_refused(data: Path, tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(Refused, match="another training is running"):
        run(data, tmp_path, "--max-update=1")
    assert not list(tmp_path.glob("*.pt"))


def test_a_trainer_that_is_mocked_is_let_through(tmp_path: Path) -> None:
    """fairseq's own tests have one, whose numbers are no numbers."""
    trainer = MagicMock()
    position = {"epoch": 1, "iterations_in_epoch": 0, "shuffle": False}
    trainer.load_checkpoint.return_value = {"train_iterator": position}
    names = ("reset_optimizer", "reset_lr_scheduler", "reset_meters", "reset_dataloader", "no_save")
    flags = {**dict.fromkeys(names, False), "optimizer_overrides": "{}", "save_dir": str(tmp_path)}
    flags |= {"finetune_from_model": None, "restore_file": "checkpoint_last.pt"}
    extra_state, _ = checkpoint_utils.load_checkpoint(OmegaConf.create(flags), trainer)
    assert extra_state["train_iterator"] == position and not list(tmp_path.iterdir())
