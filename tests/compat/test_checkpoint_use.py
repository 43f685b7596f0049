"""The repairs of lrdrop_fairseq.compat.checkpoint_use: faults are there without, gone with them."""

from __future__ import annotations

import inspect
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data.fasta_dataset import FastaDataset
from fairseq.logging import meters
from fairseq.trainer import Trainer

from lrdrop_fairseq.compat.refusals import Refused
from tests.compat.common import without
from tests.toy import make_trainer


@pytest.mark.parametrize("name", ["criterion_name", "train_iterator"])
def test_a_training_says_what_it_cannot_go_on_from(name: str, tmp_path: Path) -> None:
    trainer, path = make_trainer(), str(tmp_path / "checkpoint.pt")
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(path, {"train_iterator": {"epoch": 1}})
    state = torch.load(path)
    if name == "criterion_name":
        del state["optimizer_history"][-1][name]
    else:
        state["extra_state"][name] = {"iterations_in_epoch": 0}
        name = "epoch"
    torch.save(state, path)
    with pytest.raises(KeyError, match=name):
        inspect.unwrap(Trainer.load_checkpoint)(trainer, path)  # several repairs wrap it
    with pytest.raises(Refused, match=f"checkpoint.pt: holds no '{name}', .*--reset-optimizer"):
        trainer.load_checkpoint(path)


def test_a_restore_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """But for one in the folder of the training, which its first run does not have."""
    folder, missing = tmp_path / "run", tmp_path / "pretrianed.pt"
    trainer = make_trainer("--save-dir", str(folder), "--restore-file", str(missing))
    trainer.get_train_iterator = lambda **options: SimpleNamespace(epoch=options["epoch"])
    options = trainer.cfg.checkpoint
    fairseqs = inspect.unwrap(checkpoint_utils.load_checkpoint)
    assert fairseqs(options, trainer)[0] is None  # it would train a random model
    with pytest.raises(Refused, match=f"--restore-file {missing} does not exist: the training"):
        checkpoint_utils.load_checkpoint(options, trainer)
    options.restore_file = str(folder / "checkpoint_last.pt")
    assert checkpoint_utils.load_checkpoint(options, trainer)[1].epoch == 1


@pytest.mark.parametrize("fp32", [[], ["--ema-fp32"]])
def test_a_moving_average_begins_with_the_parameters_of_a_checkpoint_without(
    fp32: list[str], tmp_path: Path
) -> None:
    plain, path = make_trainer(seed=1), str(tmp_path / "plain.pt")
    plain.consolidate_optimizer()
    plain.save_checkpoint(path, {"train_iterator": {"epoch": 1}})
    trainer = make_trainer("--store-ema", *fp32, seed=2)
    with pytest.raises(KeyError, match="model"):
        inspect.unwrap(Trainer.load_checkpoint)(trainer, path)
    trainer = make_trainer("--store-ema", *fp32, seed=2)
    assert trainer.load_checkpoint(path, reset_optimizer=True)["train_iterator"] == {"epoch": 1}
    assert trainer.cfg.ema.store_ema
    expected = plain.model.state_dict()
    for name, average in trainer.ema.get_model().state_dict().items():
        assert torch.equal(average, expected[name]), name
    for name, average in trainer.ema.fp32_params.items():
        assert torch.equal(average, expected[name]), name


def test_meters_are_meters(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(meters, "reset_all", lambda: called.append(1), raising=False)
    saved = meters.MetersDict()
    saved.add_meter("loss", meters.AverageMeter(), 1)
    saved["loss"].update(2.0)
    loaded = meters.MetersDict()
    loaded.load_state_dict(saved.state_dict())
    assert loaded["loss"].avg == 2.0
    state = [(1, "loss", "reset_all", {})]
    with pytest.raises(Refused, match="the meter 'loss' of the checkpoint is a 'reset_all'"):
        loaded.load_state_dict(state)
    assert not called
    with pytest.raises(AttributeError):
        without(meters.MetersDict.load_state_dict)(loaded, state)
    assert called


def test_the_name_of_a_fasta_file_is_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "train $(touch ran)"
    Path(f"{name}.fasta").write_text(">a\nMK\n")
    lines = []
    monkeypatch.setattr(
        subprocess, "check_output", lambda line, shell: lines.append(line) or b"0 2"
    )
    FastaDataset(name)
    for line in lines:
        count = line.partition("--total $(")[2].partition(")|")[0]
        assert subprocess.run(count, shell=True, capture_output=True).stdout.strip() == b"6"
    assert len(lines) == 2 and not Path("ran").exists() and shutil.which("wc")
    lines.clear()
    without(FastaDataset._build_index)(None, name)
    subprocess.run(lines[0].partition("|")[0], shell=True, capture_output=True)
    assert Path("ran").exists()
