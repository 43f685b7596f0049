"""Repairs of fairseq for the versions of torch and Python that people have today.

:func:`apply` runs when the package is imported, which fairseq does early: ``--user-dir`` is
imported before the command line is parsed, before a checkpoint is read, and again in every
worker process.  Each repair is one function; its docstring says what breaks without it and
which version of fairseq or torch makes it unnecessary.  A repair whose fault is absent does
nothing.  None changes what a model computes; :func:`keep_last_batch` and
:func:`keep_batches_across_resume` change which sentences a run sees, and
:func:`leave_finished_training_alone` whether a finished run sees more.
"""

from __future__ import annotations

import argparse
import collections
import functools
import inspect
import logging
import os
from collections.abc import Callable
from typing import Any

import fairseq.utils
import numpy as np
import omegaconf
import torch
from fairseq import checkpoint_utils, options
from fairseq.criterions.sentence_prediction import SentencePredictionCriterion
from fairseq.data import data_utils
from fairseq.distributed import utils as distributed_utils
from fairseq.file_io import PathManager
from fairseq.logging import meters
from fairseq.models import distributed_fairseq_model
from fairseq.tasks import FairseqTask
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode
from torch.torch_version import TorchVersion

logger = logging.getLogger(__name__)

# What torch.serialization.add_safe_globals takes: a class or function, or one with the
# "module.name" under which it stands in the file.
SafeGlobal = Any

# Set on a function that replaces one of fairseq's, so that a second apply() leaves it alone.
_REPAIRED = "_lrdrop_repaired"


def apply() -> None:
    """Make every repair below.  Calling it again changes nothing."""
    allow_checkpoint_classes()
    allow_broadcast_classes()
    keep_bf16_off_the_tpu()
    keep_last_batch()
    keep_batches_across_resume()
    copy_checkpoints_aside()
    follow_torchrun()
    name_no_device_to_ddp_on_the_cpu()
    gather_predictions_of_sentences()
    gather_lists_on_the_cpu()
    leave_finished_training_alone()


def allow_checkpoint_classes() -> None:
    """Let ``torch.load`` read fairseq's checkpoints with ``weights_only`` on.

    Since torch 2.6 ``torch.load`` builds only objects of classes on an allow-list, and
    fairseq's checkpoints hold a few that are not on it: the ``argparse.Namespace`` of the
    model's options, and the NumPy numbers that ``--eval-bleu`` and other metrics leave in the
    saved meters.  Without them resume, generate, interactive, validate and ``from_pretrained``
    end in ``WeightsUnpickler error``.  The list grows by data classes only; a file that
    names anything else (a function such as ``os.system``) is still refused.

    Ends with: a fairseq whose checkpoints hold plain values and tensors (none so far).
    """
    _add_safe_globals([argparse.Namespace, *_numpy_globals(), *_meter_globals()])


def allow_broadcast_classes() -> None:
    """Let the workers of a multi-process run receive the checkpoint that rank 0 has read.

    When such a run resumes, rank 0 sends the checkpoint through
    ``fairseq.distributed.utils._broadcast_object_slow``, and every other rank rebuilds it
    with ``torch.load``.  By then the options are an omegaconf tree and each tensor is a
    placeholder, which torch >= 2.6 refuses (see above), so all ranks but 0 fail and rank 0
    waits for them.  The same classes serve checkpoints that hold an omegaconf tree.

    Ends with: a fairseq that broadcasts with ``torch.distributed.broadcast_object_list`` or
    with ``weights_only=False`` (none so far).
    """
    placeholder = distributed_utils._TensorPlaceholder
    tree = [omegaconf.DictConfig, omegaconf.ListConfig, AnyNode, ContainerMetadata, Metadata]
    types = [bool, bytes, collections.defaultdict, dict, float, int, list, str, tuple, Any]
    _add_safe_globals([placeholder, *tree, *types])


def _add_safe_globals(allowed: list[SafeGlobal]) -> None:
    """Put ``allowed`` on torch's list; older torch loads without a list and needs none."""
    if TorchVersion(torch.__version__) >= "2.6":
        torch.serialization.add_safe_globals(allowed)


def _numpy_globals() -> list[SafeGlobal]:
    """What a pickled NumPy array or number of a numeric type names, in NumPy 1 and 2."""
    rebuild_array = np.zeros(1).__reduce__()[0]
    rebuild_number = np.float64(0).__reduce__()[0]
    allowed: list[SafeGlobal] = [np.ndarray, np.dtype]
    allowed += {type(np.dtype(code)) for code in np.typecodes["AllInteger"] + "?efd"}
    # NumPy 2 moved numpy.core to numpy._core; files written by the other version stay readable.
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        allowed.append((rebuild_array, f"{module}._reconstruct"))
        allowed.append((rebuild_number, f"{module}.scalar"))
    return allowed


def _meter_globals() -> list[SafeGlobal]:
    """The meters that checkpoints of fairseq <= 0.9 hold whole (today's hold their numbers)."""
    classes = [meters.AverageMeter, meters.StopwatchMeter, meters.TimeMeter]
    return [(cls, f"fairseq.meters.{cls.__name__}") for cls in classes]


def keep_bf16_off_the_tpu() -> None:
    """Let ``--bf16`` and ``--memory-efficient-bf16`` train on a GPU or a CPU.

    ``fairseq.options.parse_args_and_arch`` switches ``--tpu`` on whenever bfloat16 is asked
    for, and without torch_xla the run crashes.  Here ``--tpu`` is what the command line says,
    so ``--bf16 --tpu`` still trains on a TPU.  (``fairseq-hydra-train common.bf16=true`` never
    had the fault.)

    Ends with: a fairseq in which ``--bf16`` does not imply ``--tpu`` (none so far).
    """
    original = options.parse_args_and_arch
    if hasattr(original, _REPAIRED):
        return

    @functools.wraps(original)
    def parse_args_and_arch(
        parser: argparse.ArgumentParser, input_args: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        result = original(parser, input_args, *args, **kwargs)
        # With parse_known the result is (namespace, unknown arguments).
        namespace = result[0] if isinstance(result, tuple) else result
        if getattr(namespace, "bf16", False) and getattr(namespace, "tpu", False):
            # By now the parser knows every option: ask it again for what was really given.
            namespace.tpu = parser.parse_known_args(input_args)[0].tpu
        return result

    _replace(options, parse_args_and_arch)


def keep_last_batch() -> None:
    """Keep the last batch of a data set when its size is no multiple of 8.

    fairseq 0.12.3 throws the last batch away unless it holds a multiple of
    ``--required-batch-size-multiple`` (8) sentences.  Those sentences are missing from
    training, from the validation loss and from the output of ``fairseq-generate``, without a
    word, and a set of fewer than 8 sentences is an ``IndexError``.  fairseq 0.12.2 keeps it,
    and so does this repair: it adds the missing sentences as the last batch.

    Ends with: a fairseq whose ``data_utils.batch_by_size`` returns every index (0.12.2 does).
    """
    original = data_utils.batch_by_size
    if hasattr(original, _REPAIRED):
        return
    signature = inspect.signature(original)

    @functools.wraps(original)
    def batch_by_size(indices: Any, *args: Any, **kwargs: Any) -> Any:
        # A generator can be read once only, and the indices are needed twice.
        indices = indices if isinstance(indices, np.ndarray) else np.array(list(indices), np.int64)
        if len(indices) == 0:
            return []
        batches = original(indices, *args, **kwargs)
        # Batches are consecutive slices of the indices, except those of given shapes.
        given = signature.bind(indices, *args, **kwargs).arguments
        if given.get("fixed_shapes") is None:
            kept = sum(len(batch) for batch in batches)
            if kept < len(indices):
                batches = [*batches, indices[kept:]]
        return batches

    _replace(data_utils, batch_by_size)


def keep_batches_across_resume() -> None:
    """Let a run that resumes go on with the batches of the run that was interrupted.

    fairseq groups the sentences into batches once, when it starts, and seeds the shuffle that
    goes before with the epoch it starts in.  So a run that resumes in epoch 3 has other batches
    than the run that it continues: of the epoch that was interrupted some sentences come twice
    and others never, and the result is no longer that of an uninterrupted run.  Here the batches
    are always those of epoch 1, as in a run that was never interrupted.  Tasks that rebuild
    their batches in every epoch are left alone.

    Ends with: a fairseq that makes reusable batches with a seed free of the epoch (none so far).
    """
    original = FairseqTask.get_batch_iterator
    if hasattr(original, _REPAIRED):
        return
    signature = inspect.signature(original)

    @functools.wraps(original)
    def get_batch_iterator(self: Any, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        call = signature.bind(self, dataset, *args, **kwargs)
        call.apply_defaults()
        renewed = call.arguments.get("disable_iterator_cache") or call.arguments.get(
            "update_epoch_batch_itr"
        )
        rebuilt = renewed or getattr(self.cfg, "rebuild_batches", False)
        cached = dataset in self.dataset_to_epoch_iter
        if cached or rebuilt or not self.can_reuse_epoch_itr(dataset):
            return original(self, dataset, *args, **kwargs)
        epoch, call.arguments["epoch"] = call.arguments["epoch"], 1
        iterator = original(*call.args, **call.kwargs)
        dataset.set_epoch(epoch)
        iterator.epoch = max(epoch, 1)
        return iterator

    _replace(FairseqTask, get_batch_iterator)


def copy_checkpoints_aside() -> None:
    """Let no copy of a checkpoint appear before it is complete.

    fairseq saves a checkpoint aside and renames it, but then copies it to
    ``checkpoint_last.pt`` and ``checkpoint_best.pt`` in place.  A run that is killed during the
    copy leaves half a ``checkpoint_last.pt`` and cannot resume from it.

    Ends with: a fairseq whose ``PathManager.copy`` renames (none so far).
    """
    original = PathManager.copy
    if hasattr(original, _REPAIRED):
        return

    @functools.wraps(original)
    def copy(src: str, dst: str, *args: Any, **kwargs: Any) -> Any:
        if not PathManager.supports_rename(dst):
            return original(src, dst, *args, **kwargs)
        copied = original(src, f"{dst}.tmp", *args, **kwargs)
        os.replace(f"{dst}.tmp", dst)
        return copied

    _replace(PathManager, copy)
    PathManager.copy = staticmethod(copy)  # as it was


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
    if hasattr(original, _REPAIRED):
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

    _replace(distributed_utils, infer_init_method)


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
    if hasattr(original, _REPAIRED):
        return

    @functools.wraps(original, updated=())
    def DistributedDataParallel(module: torch.nn.Module, **options: Any) -> Any:
        if all(parameter.device.type == "cpu" for parameter in module.parameters()):
            options |= {"device_ids": None, "output_device": None}
        return original(module=module, **options)

    _replace(distributed_fairseq_model, DistributedDataParallel)


def gather_predictions_of_sentences() -> None:
    """Let several processes validate ``sentence_prediction`` with ``--report-mcc`` and the like.

    fairseq takes the lists of predictions for numbers that workers may add up, and the first
    validation ends in a TypeError.

    Ends with: a fairseq whose ``SentencePredictionCriterion`` has them gathered (none so far;
    0.12.2 has no such flags).
    """
    if hasattr(SentencePredictionCriterion.logging_outputs_can_be_summed, _REPAIRED):
        return

    def logging_outputs_can_be_summed(self: SentencePredictionCriterion) -> bool:
        return self.training or not getattr(self, "keep_pred_and_targ", False)

    _replace(SentencePredictionCriterion, logging_outputs_can_be_summed)


def gather_lists_on_the_cpu() -> None:
    """Let processes on CPUs gather what they cannot add up.

    fairseq sends it through a buffer on a GPU always: validation of ``sentence_prediction`` with
    ``--report-mcc``, or ``fairseq-validate``, ends in a TypeError on CPUs.

    Ends with: a fairseq that gathers with ``torch.distributed.all_gather_object`` (none so far).
    """
    original = distributed_utils.all_gather_list
    if hasattr(original, _REPAIRED):
        return

    @functools.wraps(original, updated=())
    def all_gather_list(data: Any, group: Any = None, max_size: int = 16384) -> list[Any]:
        group = group or distributed_utils.get_global_group()
        if torch.distributed.get_backend(group) != "gloo":
            return original(data, group, max_size)  # type: ignore[no-any-return]
        result = [None] * torch.distributed.get_world_size(group)
        torch.distributed.all_gather_object(result, fairseq.utils.move_to_cpu(data), group)
        return result

    _replace(distributed_utils, all_gather_list)


def leave_finished_training_alone() -> None:
    """Let a training that has reached ``--max-update`` end at once when it is started again.

    fairseq looks at ``--max-update`` only after an update, so the same command given again makes
    one more, validates, and writes all checkpoints anew. ``--max-epoch`` it looks at before, which
    is what ends the training here.

    Ends with: a fairseq that looks at ``--max-update`` before the first update (none so far).
    """
    original = checkpoint_utils.load_checkpoint
    if hasattr(original, _REPAIRED):
        return

    @functools.wraps(original)
    def load_checkpoint(cfg: Any, trainer: Any, **passthrough_args: Any) -> Any:
        loaded = original(cfg, trainer, **passthrough_args)
        limits, done = trainer.cfg.optimization, trainer.get_num_updates()
        if 0 < limits.max_update <= done:
            logger.info(
                "nothing to train: %d updates are done, --max-update is %d", done, limits.max_update
            )
            limits.max_epoch = -1  # 0 would be without limit
        return loaded

    _replace(checkpoint_utils, load_checkpoint)


def _replace(owner: Any, function: Callable[..., Any]) -> None:
    """Put ``function`` in the place of the one of the same name in ``owner``."""
    setattr(function, _REPAIRED, True)
    setattr(owner, function.__name__, function)
