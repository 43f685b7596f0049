"""The repairs of lrdrop_fairseq.compat.saving: faults are there without, gone with them."""

from __future__ import annotations

import errno
import io
import time
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager
from fairseq.trainer import Trainer
from omegaconf import OmegaConf

from lrdrop_fairseq import save_dir_lock
from tests.compat.common import without

STATE = {"model": torch.arange(100_000.0)}


class FullForAMoment(io.FileIO):
    """A file on a disk that is full once, when 100,000 bytes are written."""

    full = True

    def write(self, data: Any) -> int:
        if self.full and self.tell() + len(data) > 100_000:
            self.full = False
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_each_attempt_to_save_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(
        PathManager, "open", lambda path, mode: io.BufferedWriter(FullForAMoment(path, mode))
    )
    path = tmp_path / "checkpoint1.pt"
    checkpoint_utils.torch_persistent_save(STATE, str(path))
    assert torch.load(path)["model"].equal(STATE["model"])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]

    original = without(checkpoint_utils._torch_persistent_save)
    monkeypatch.setattr(checkpoint_utils, "_torch_persistent_save", original)
    checkpoint_utils.torch_persistent_save(STATE, str(path))
    with pytest.raises(RuntimeError):
        torch.load(path)


def test_a_disk_that_stays_full_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the checkpoint of that name that was there before stays."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    path = tmp_path / "checkpoint_last.pt"
    path.write_text("the one before")

    def no_space(state: Any, file: Any) -> None:
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", no_space)
    with pytest.raises(OSError, match="No space left"):
        checkpoint_utils.torch_persistent_save(STATE, str(path))
    assert path.read_text() == "the one before"


@pytest.mark.parametrize(
    ("rank", "no_save", "holds"), [(0, False, True), (1, False, False), (0, True, False)]
)
def test_the_process_that_saves_holds_the_folder(
    tmp_path: Path, rank: int, no_save: bool, holds: bool
) -> None:
    trainer = MagicMock(spec=Trainer)
    trainer.cfg = OmegaConf.create({"distributed_training": {"distributed_rank": rank}})
    trainer.checkpoint_suffix = ""
    trainer.load_checkpoint.return_value = None
    flags: dict[str, Any] = dict.fromkeys(
        ("reset_optimizer", "reset_lr_scheduler", "reset_meters", "reset_dataloader"), False
    )
    flags |= {"optimizer_overrides": "{}", "save_dir": str(tmp_path), "no_save": no_save}
    flags |= {"finetune_from_model": None, "restore_file": "checkpoint_last.pt"}
    checkpoint_utils.load_checkpoint(OmegaConf.create(flags), trainer)
    assert (tmp_path / save_dir_lock.NAME).exists() == holds
