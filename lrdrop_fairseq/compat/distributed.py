"""Repairs of runs of several processes, on GPUs and without."""

from __future__ import annotations

import functools
import os
import socket
from typing import Any

import fairseq.utils
import torch
import torch.multiprocessing
from fairseq.distributed import utils as distributed_utils
from fairseq.models import distributed_fairseq_model

from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.compat.replace import REPAIRED, replace

# A mark of its own, as refusals.end_with_a_sentence wraps the same function.
STARTS_PROCESSES = "_lrdrop_starts_processes"


def follow_torchrun() -> None:
    """Let ``torchrun`` start the processes of a run, with GPUs and without.

    fairseq reads torchrun's environment only if ``--distributed-world-size`` is more than 1, and
    its default is the number of visible GPUs.  So on CPUs, and on machines with one GPU each,
    every process trains alone and all write the same checkpoints.  Where it does read it, it
    divides by zero without a GPU, and takes the device from the rank in the whole run, which is
    another machine's numbering when machines differ.  Here torchrun says how many processes
    there are, and the device is ``LOCAL_RANK``, modulo the number of GPUs that the process sees
    (device 0 where it sees but one).  ``fairseq-hydra-train`` imports the plugin too late for
    this repair: there, on machines with one GPU each, set
    ``distributed_training.distributed_world_size``.

    Ends with: a fairseq whose ``infer_init_method`` asks the environment first (none so far).
    """
    original = distributed_utils.infer_init_method
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def infer_init_method(cfg: Any, *args: Any, **kwargs: Any) -> None:
        given = cfg.distributed_init_method is not None
        if given or cfg.tpu or cfg.pipeline_model_parallel or not _under_torchrun():
            original(cfg, *args, **kwargs)
            return
        if cfg.distributed_backend == "nccl" and not torch.cuda.is_available():
            raise ValueError(
                "torchrun has started several processes, but --distributed-backend nccl, the "
                "default, needs a CUDA device and there is none: add --distributed-backend gloo"
            )
        cfg.distributed_init_method = "env://"
        cfg.distributed_world_size = int(os.environ["WORLD_SIZE"])
        cfg.distributed_rank = int(os.environ["RANK"])
        local_rank = int(os.environ.get("LOCAL_RANK", cfg.distributed_rank))
        cfg.device_id = local_rank % max(1, torch.cuda.device_count())
        cfg.distributed_no_spawn = True  # this process is one of them

    replace(distributed_utils, infer_init_method)


def _under_torchrun() -> bool:
    """Whether torchrun, or a launcher with the same environment, has started several processes."""
    names = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE")
    return all(name in os.environ for name in names) and int(os.environ["WORLD_SIZE"]) > 1


def name_no_device_to_ddp_on_the_cpu() -> None:
    """Let ``--ddp-backend pytorch_ddp``, the default, train on CPUs.

    fairseq names a CUDA device to torch's ``DistributedDataParallel`` always, and that refuses
    one for a model on the CPU.

    Ends with: a fairseq that passes ``device_ids=None`` for such a model (none so far).
    """
    original = distributed_fairseq_model.DistributedDataParallel
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original, updated=())
    def DistributedDataParallel(module: torch.nn.Module, **options: Any) -> Any:
        if all(parameter.device.type == "cpu" for parameter in module.parameters()):
            options |= {"device_ids": None, "output_device": None}
        return original(module=module, **options)

    replace(distributed_fairseq_model, DistributedDataParallel)


def gather_lists_on_the_cpu() -> None:
    """Let processes on CPUs gather what they cannot add up.

    fairseq sends it through a buffer on a GPU always: validation of ``sentence_prediction`` with
    ``--report-mcc``, or ``fairseq-validate``, ends in a TypeError on CPUs.

    Ends with: a fairseq that gathers with ``torch.distributed.all_gather_object`` (none so far).
    """
    original = distributed_utils.all_gather_list
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original, updated=())
    def all_gather_list(data: Any, group: Any = None, max_size: int = 16384) -> list[Any]:
        group = group or distributed_utils.get_global_group()
        if torch.distributed.get_backend(group) != "gloo":
            return original(data, group, max_size)  # type: ignore[no-any-return]
        result = [None] * torch.distributed.get_world_size(group)
        torch.distributed.all_gather_object(result, fairseq.utils.move_to_cpu(data), group)
        return result

    replace(distributed_utils, all_gather_list)


def start_processes_without_gpus() -> None:
    """Let ``--distributed-world-size 2 --distributed-backend gloo --cpu`` start two processes.

    fairseq starts one process a GPU: with ``--cpu``, or where there are not enough GPUs, the run
    ends in an AssertionError that counts devices, and would start none.  Under torchrun, slurm
    or with ``--distributed-init-method`` somebody else starts them, as before.
    ``fairseq-hydra-train`` imports the plugin too late for this repair: take fairseq-train.

    Ends with: a fairseq whose ``call_main`` counts processes instead of GPUs (none so far).
    """
    original = distributed_utils.call_main
    if hasattr(original, STARTS_PROCESSES):
        return

    @functools.wraps(original)
    def call_main(cfg: Any, main: Any, **kwargs: Any) -> None:
        distributed = cfg.distributed_training
        if not _wants_processes_on_the_cpu(cfg):
            original(cfg, main, **kwargs)
            return
        if distributed.distributed_backend == "nccl":
            raise Refused(
                "--distributed-backend nccl, the default, needs a CUDA device for each of the "
                f"{distributed.distributed_world_size} processes, of which there are by default as "
                "many as GPUs, with --cpu too: add --distributed-backend gloo, or "
                "--distributed-world-size 1 for one process"
            )
        port = distributed.distributed_port if distributed.distributed_port > 0 else _free_port()
        distributed.distributed_init_method = f"tcp://localhost:{port}"
        distributed.distributed_rank = None  # that of the process
        torch.multiprocessing.spawn(  # type: ignore[attr-defined, no-untyped-call]
            fn=distributed_utils.distributed_main,
            args=(main, cfg, {**kwargs, "start_rank": 0}),
            nprocs=distributed.distributed_world_size,
        )

    replace(distributed_utils, call_main, STARTS_PROCESSES)


def _wants_processes_on_the_cpu(cfg: Any) -> bool:
    """Whether a run of several processes is to be started here, and not one a GPU."""
    distributed = cfg.distributed_training
    on_the_cpu = cfg.common.cpu or not torch.cuda.is_available()
    elsewhere = (
        distributed.distributed_init_method is not None
        or distributed.distributed_no_spawn
        or distributed.pipeline_model_parallel
        or cfg.common.tpu
        or _under_torchrun()
        or "SLURM_STEP_NODELIST" in os.environ
        or "SLURM_JOB_NODELIST" in os.environ
    )
    return on_the_cpu and distributed.distributed_world_size > 1 and not elsewhere


def _free_port() -> int:
    with socket.socket() as connection:
        connection.bind(("localhost", 0))
        port: int = connection.getsockname()[1]
    return port
