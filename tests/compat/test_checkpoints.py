"""The repairs of lrdrop_fairseq.compat.checkpoints: faults are there without, gone with them."""

from __future__ import annotations

import argparse
import collections
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from fairseq import checkpoint_utils
from fairseq.distributed import utils as distributed_utils
from fairseq.file_io import PathManager
from fairseq.logging import meters
from omegaconf import OmegaConf

from lrdrop_fairseq.compat.refusals import Refused
from tests.compat.common import torchs_own_list, without

CONFIG = OmegaConf.create(
    {"task": {"data": "x", "lr": [0.1, None]}, "model": argparse.Namespace(arch="y", on=True)},
    flags={"allow_objects": True},
)
HELD = {
    "options": argparse.Namespace(arch="transformer", dropout=0.1, lr=[1e-3]),
    "counts of --eval-bleu": np.array([3, 2, 1, 0]),
    "float32 array": np.ones((2, 3), np.float32),
    "number of a metric": np.float64(0.25),
    "accuracy": np.float32(0.5),
    "flag": np.bool_(True),
    "omegaconf tree": CONFIG,
    "placeholder of a tensor": distributed_utils._TensorPlaceholder(3),
}


@pytest.mark.parametrize("held", HELD.values(), ids=list(HELD))
def test_checkpoint_classes_load(held: Any, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"extra_state": held}, path)
    with torchs_own_list(), pytest.raises(pickle.UnpicklingError, match="Weights only"):
        torch.load(path)
    loaded = torch.load(path)["extra_state"]
    assert type(loaded) is type(held)
    np.testing.assert_equal(loaded, held)


@pytest.mark.parametrize("held", [np.arange(4), np.float64(2.5)], ids=["array", "number"])
def test_numpy_names_of_the_other_major_version_load(held: Any, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"x": held}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    names = (b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    mine, other = names if names[0] in data else names[::-1]
    path.write_bytes(data.replace(mine, other))
    assert other in path.read_bytes()
    np.testing.assert_equal(torch.load(path)["x"], held)


def test_meters_of_old_checkpoints_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    meter = meters.AverageMeter()
    meter.update(2.0, 3)
    # Up to fairseq 0.9 the class lived here, and the checkpoint names the class by its module.
    monkeypatch.setattr(meters.AverageMeter, "__module__", "fairseq.meters")
    torch.save(collections.OrderedDict(train_loss=meter), path)
    monkeypatch.undo()
    with torchs_own_list(), pytest.raises(pickle.UnpicklingError, match="Weights only"):
        torch.load(path)
    assert torch.load(path)["train_loss"].avg == 2.0


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.marker}'",)


def test_code_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path, marker = tmp_path / "checkpoint.pt", tmp_path / "marker"
    torch.save({"cfg": None, "args": argparse.Namespace(x=Malicious(marker))}, path)
    with pytest.raises(Refused, match="checkpoint.pt: cannot be read .*system"):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the file does what it is meant to do
    assert marker.exists()


def _broadcast(rank: int, meeting_point: str, results: Any) -> None:
    """One of two workers: receives a checkpoint without the repair, then with it."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=2
    )
    group = torch.distributed.group.WORLD
    state = {
        "cfg": CONFIG,
        "extra_state": HELD["counts of --eval-bleu"],
        "model": {"weight": torch.arange(3.0), "half": [torch.ones(2, 2, dtype=torch.bfloat16)]},
    }
    sent = state if rank == 0 else None
    refused = False
    with torchs_own_list():
        try:
            device = torch.device("cpu")
            distributed_utils._broadcast_object_slow({"cfg": CONFIG}, 0, group, device)
        except pickle.UnpicklingError:
            refused = True
    received = distributed_utils.broadcast_object(sent, 0, group)
    np.testing.assert_equal(received["extra_state"], state["extra_state"])
    assert received["cfg"] == CONFIG
    assert received["model"]["weight"].equal(state["model"]["weight"])
    assert received["model"]["half"][0].equal(state["model"]["half"][0])
    results.put((rank, refused))
    torch.distributed.destroy_process_group()


def test_every_rank_receives_the_checkpoint(tmp_path: Path) -> None:
    # Forked as data loader workers are, for importing fairseq anew takes each worker seconds.
    results = torch.multiprocessing.get_context("fork").SimpleQueue()
    arguments = (str(tmp_path / "meeting_point"), results)
    torch.multiprocessing.start_processes(_broadcast, arguments, nprocs=2, start_method="fork")
    assert dict([results.get(), results.get()]) == {0: False, 1: True}


def test_a_copy_appears_when_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, last = tmp_path / "checkpoint_1_20.pt", tmp_path / "checkpoint_last.pt"
    new.write_text("the new checkpoint")
    last.write_text("the one before")
    assert PathManager.copy(str(new), str(last), overwrite=True)
    assert last.read_text() == new.read_text()
    assert [path.name for path in tmp_path.glob("*.tmp")] == []

    def killed_half_way(source: str, target: str) -> None:
        Path(target).write_text(Path(source).read_text()[:5])
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", killed_half_way)
    new.write_text("an even newer checkpoint")
    with pytest.raises(KeyboardInterrupt):
        PathManager.copy(str(new), str(last), overwrite=True)
    assert last.read_text() == "the new checkpoint"
    with pytest.raises(KeyboardInterrupt):
        without(PathManager.copy)(str(new), str(last), overwrite=True)
    assert last.read_text() == "an ev"
