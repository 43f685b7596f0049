"""The repairs of lrdrop_fairseq.compat.distributed: faults are there without, gone with them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from fairseq.dataclass.configs import DistributedTrainingConfig, FairseqConfig
from fairseq.distributed import utils as distributed_utils
from fairseq.models import distributed_fairseq_model
from omegaconf import OmegaConf

from lrdrop_fairseq import compat
from tests.compat.common import without


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


def sum_of_ranks(cfg: Any, found: Any) -> None:
    """What each process of a run does here."""
    total = torch.ones(1) * cfg.distributed_training.distributed_rank
    torch.distributed.all_reduce(total)
    found.put((cfg.distributed_training.distributed_rank, total.item()))


def test_processes_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    see_gpus(monkeypatch, 0)
    # Forked as data loader workers are, for importing fairseq anew takes each worker seconds.
    fork = functools.partial(torch.multiprocessing.start_processes, start_method="fork")
    monkeypatch.setattr(torch.multiprocessing, "spawn", fork)
    found = torch.multiprocessing.get_context("fork").SimpleQueue()

    def run(call_main: Any, backend: str = "gloo") -> None:
        distributed = DistributedTrainingConfig(
            distributed_world_size=3, distributed_backend=backend
        )
        cfg = OmegaConf.structured(FairseqConfig(distributed_training=distributed))
        cfg.model = None
        call_main(cfg, sum_of_ranks, found=found)

    run(distributed_utils.call_main)
    assert sorted(found.get() for _ in range(3)) == [(0, 3.0), (1, 3.0), (2, 3.0)]
    with pytest.raises(
        SystemExit,
        match="of the 3 processes.*add --distributed-backend gloo, or --distributed-world-size 1",
    ):
        run(distributed_utils.call_main, "nccl")
    with pytest.raises(AssertionError, match="world size is 3 but have 0"):
        run(without(without(distributed_utils.call_main)))


def test_processes_that_others_start_are_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def started_here(gpus: int, cpu: bool = False, **options: Any) -> bool:
        see_gpus(monkeypatch, gpus)
        distributed = DistributedTrainingConfig(**{"distributed_world_size": 2, **options})
        cfg = OmegaConf.structured(FairseqConfig(distributed_training=distributed))
        cfg.common.cpu = cpu
        return compat.distributed._wants_processes_on_the_cpu(cfg)

    assert started_here(0) and started_here(1, cpu=True)
    assert not started_here(2) and not started_here(0, distributed_world_size=1)
    assert not started_here(0, distributed_init_method="tcp://b:2")
    assert not started_here(0, distributed_no_spawn=True)
    with monkeypatch.context() as slurm:
        slurm.setenv("SLURM_JOB_NODELIST", "a,b")
        assert not started_here(0)
