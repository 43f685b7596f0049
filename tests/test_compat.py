"""Every repair of lrdrop_fairseq.compat: the fault is there without it, and gone with it."""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from fairseq import checkpoint_utils, options
from fairseq.data import LanguagePairDataset, data_utils
from fairseq.dataclass.configs import DistributedTrainingConfig, FairseqConfig
from fairseq.distributed import utils as distributed_utils
from fairseq.file_io import PathManager
from fairseq.logging import meters
from fairseq.models import distributed_fairseq_model
from fairseq.tasks import FairseqTask
from omegaconf import OmegaConf

from lrdrop_fairseq import compat
from tests.toy import make_task, write_data

PLUGIN = Path(compat.__file__).parent
TRAIN = (
    "--task translation --source-lang de --target-lang en --arch transformer --encoder-layers 1 "
    "--decoder-layers 1 --encoder-embed-dim 8 --decoder-embed-dim 8 --encoder-ffn-embed-dim 8 "
    "--decoder-ffn-embed-dim 8 --encoder-attention-heads 2 --decoder-attention-heads 2 "
    "--criterion label_smoothed_cross_entropy --optimizer adam --lr 1e-3 --max-tokens 80 "
    "--max-update 2 --num-workers 0 --eval-bleu --best-checkpoint-metric bleu --cpu"
).split()


@contextlib.contextmanager
def torchs_own_list() -> Iterator[None]:
    """torch's allow-list as it is when nothing has been added to it."""
    ours = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(ours)


def without(repaired: Any) -> Any:
    """The function of fairseq that a repair has replaced."""
    return repaired.__wrapped__


# --- loading checkpoints -------------------------------------------------------------------

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
    with pytest.raises(pickle.UnpicklingError, match="system"):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the file does what it is meant to do
    assert marker.exists()


# --- resuming in several processes ---------------------------------------------------------


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


# --- bfloat16 ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "bf16", "tpu"),
    [
        ([], False, False),
        (["--tpu"], False, True),
        (["--bf16"], True, False),
        (["--memory-efficient-bf16"], True, False),
        (["--bf16", "--tpu"], True, True),
    ],
)
def test_bf16_leaves_tpu_alone(flags: list[str], bf16: bool, tpu: bool) -> None:
    command = ["data", *TRAIN, *flags]
    parse = options.parse_args_and_arch
    args = parse(options.get_training_parser(), command)
    known, unknown = parse(options.get_training_parser(), [*command, "--?"], parse_known=True)
    assert unknown == ["--?"]
    assert (args.bf16, args.tpu) == (known.bf16, known.tpu) == (bf16, tpu)

    faulty = without(parse)(options.get_training_parser(), command)
    assert (faulty.bf16, faulty.tpu) == (bf16, bf16 or tpu)


def test_overrides_stay_those_given() -> None:
    """fairseq-validate parses a second time, for the options that were given, not the defaults."""
    parser = options.get_validation_parser()
    args = options.parse_args_and_arch(
        parser, ["data", "--task", "translation", "--bf16"], suppress_defaults=True
    )
    assert args.bf16 and not hasattr(args, "tpu") and not hasattr(args, "fp16")


# --- a real run: --bf16 trains on a CPU, and its checkpoint loads --------------------------


def test_bf16_trains_and_its_checkpoint_loads(tmp_path: Path) -> None:
    write_data(tmp_path / "data", {"train": [(4, 4)] * 10, "valid": [(4, 4)] * 5})
    code = "from fairseq_cli.train import cli_main; cli_main()"
    command = [sys.executable, "-c", code, "data", *TRAIN, "--bf16", "--user-dir", str(PLUGIN)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    path = str(tmp_path / "checkpoints" / "checkpoint_best.pt")
    with torchs_own_list(), pytest.raises(pickle.UnpicklingError, match="Namespace"):
        checkpoint_utils.load_checkpoint_to_cpu(path)
    state = checkpoint_utils.load_checkpoint_to_cpu(path)
    assert state["cfg"].common.bf16 and not state["cfg"].common.tpu
    assert state["optimizer_history"][-1]["num_updates"] == 2
    # fairseq saves float32, so that the values show what the model was trained in.
    assert all(value.equal(value.bfloat16().float()) for value in state["model"].values())


# --- the last batch ------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 5, 8, 13, 16])
@pytest.mark.parametrize("as_vector", [True, False], ids=["lengths", "length function"])
def test_every_sentence_is_in_a_batch(count: int, as_vector: bool) -> None:
    lengths = np.full(count, 3)
    limits: dict[str, Any] = {"max_tokens": 30, "required_batch_size_multiple": 8}
    if as_vector:
        limits["num_tokens_vec"] = lengths
    order = np.arange(count)[::-1].copy()
    batches = data_utils.batch_by_size(order, lengths.__getitem__, **limits)
    assert [index for batch in batches for index in batch] == list(order)
    assert all(len(batch) * 3 <= 30 for batch in batches)
    assert all(len(batch) % 8 == 0 for batch in batches[:-1])

    kept = sum(map(len, without(data_utils.batch_by_size)(order, lengths.__getitem__, **limits)))
    assert kept == count // 8 * 8


def test_indices_may_be_a_generator() -> None:
    batches = data_utils.batch_by_size(
        (i for i in range(9)), lambda _: 1, max_sentences=8, required_batch_size_multiple=8
    )
    assert [list(batch) for batch in batches] == [list(range(8)), [8]]


# --- copies of a checkpoint -----------------------------------------------------------------


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


# --- batches of a run that resumes ----------------------------------------------------------


def batches_of_epoch_three(get_batch_iterator: Any) -> tuple[list[list[int]], list[list[int]]]:
    """Batches of epoch 3: of a run from the beginning, and of one that resumes in epoch 3."""
    sentences = [torch.full((1 + i % 5,), 4) for i in range(40)]
    sizes = [len(sentence) for sentence in sentences]
    dictionary = make_task().source_dictionary
    results = []
    for first_epoch in (1, 3):
        dataset = LanguagePairDataset(sentences, sizes, dictionary, sentences, sizes, dictionary)
        iterator = get_batch_iterator(
            make_task(), dataset, max_tokens=20, required_batch_size_multiple=1, epoch=first_epoch
        )
        assert iterator.next_epoch_idx == first_epoch
        while iterator.next_epoch_idx < 3:
            list(iterator.next_epoch_itr())
        results.append([batch["id"].tolist() for batch in iterator.next_epoch_itr()])
    return results[0], results[1]


def test_a_resumed_run_has_the_batches_of_the_one_it_continues() -> None:
    uninterrupted, resumed = batches_of_epoch_three(FairseqTask.get_batch_iterator)
    assert resumed == uninterrupted
    uninterrupted, resumed = batches_of_epoch_three(without(FairseqTask.get_batch_iterator))
    assert resumed != uninterrupted


# --- several processes ----------------------------------------------------------------------


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of the last of 2 processes per machine on 3 machines; no GPU."""
    launched = dict(MASTER_ADDR="a", MASTER_PORT="1", WORLD_SIZE="6", RANK="5", LOCAL_RANK="1")
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    see_gpus(monkeypatch, 0)
    return monkeypatch


def see_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)


def inferred(infer_init_method: Any, gpus: int, **options: Any) -> tuple[Any, ...]:
    """(world size, rank, device, init method) as a machine with so many GPUs gets them."""
    defaults = {"distributed_world_size": max(1, gpus), "distributed_backend": "gloo"}
    distributed = DistributedTrainingConfig(**{**defaults, **options})
    cfg = OmegaConf.structured(FairseqConfig(distributed_training=distributed)).distributed_training
    infer_init_method(cfg)
    method = cfg.distributed_init_method
    return cfg.distributed_world_size, cfg.distributed_rank, cfg.device_id, method


@pytest.mark.parametrize(("gpus", "device"), [(0, 0), (1, 0), (2, 1), (4, 1)])
def test_torchrun_says_how_many_processes_there_are(
    torchrun: pytest.MonkeyPatch, gpus: int, device: int
) -> None:
    see_gpus(torchrun, gpus)
    repaired = distributed_utils.infer_init_method
    assert inferred(repaired, gpus) == (6, 5, device, "env://")
    if gpus < 2:  # everyone alone
        assert inferred(without(repaired), gpus)[0] == 1
    torchrun.setenv("WORLD_SIZE", "1")
    assert inferred(repaired, 1) == inferred(without(repaired), 1) and inferred(repaired, 1)[0] == 1


def test_the_device_is_one_of_this_machine(torchrun: pytest.MonkeyPatch) -> None:
    see_gpus(torchrun, 3)  # rank 5 is the second process of a machine with three GPUs
    assert inferred(distributed_utils.infer_init_method, 3)[2] == 1
    assert inferred(without(distributed_utils.infer_init_method), 3)[2] == 2


def test_torchrun_without_a_gpu(torchrun: pytest.MonkeyPatch) -> None:
    repaired = distributed_utils.infer_init_method
    with pytest.raises(ZeroDivisionError):
        inferred(without(repaired), 0, distributed_world_size=6)
    with pytest.raises(ValueError, match="--distributed-backend gloo"):
        inferred(repaired, 0, distributed_backend="nccl")


def test_a_given_meeting_point_stays(torchrun: pytest.MonkeyPatch) -> None:
    given = {"distributed_init_method": "tcp://b:2", "distributed_world_size": 2}
    assert inferred(distributed_utils.infer_init_method, 0, **given)[::3] == (2, "tcp://b:2")


def test_pytorch_ddp_on_the_cpu(tmp_path: Path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meeting_point", rank=0, world_size=1
    )
    try:
        wrap = distributed_fairseq_model.DistributedDataParallel
        options = dict(module=torch.nn.Linear(2, 2), device_ids=[0], output_device=0)
        assert isinstance(wrap(**options), torch.nn.parallel.DistributedDataParallel)
        with pytest.raises(ValueError, match="device_ids"):
            without(wrap)(**options)
    finally:
        torch.distributed.destroy_process_group()


# --- all of them ---------------------------------------------------------------------------


def test_a_second_apply_changes_nothing() -> None:
    def state() -> list[Any]:
        return [
            options.parse_args_and_arch,
            data_utils.batch_by_size,
            FairseqTask.get_batch_iterator,
            PathManager.copy,
            distributed_utils.infer_init_method,
            distributed_fairseq_model.DistributedDataParallel,
            set(torch.serialization.get_safe_globals()),
        ]

    before = state()
    compat.apply()
    assert state() == before
    assert not any(hasattr(without(function), "__wrapped__") for function in before[:-1])
