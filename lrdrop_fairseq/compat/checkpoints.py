"""Repairs of how checkpoints are read, copied and sent."""

from __future__ import annotations

import argparse
import collections
import functools
import os
from typing import Any

import numpy as np
import omegaconf
import torch
from fairseq.distributed import utils as distributed_utils
from fairseq.file_io import PathManager
from fairseq.logging import meters
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode
from torch.torch_version import TorchVersion

from lrdrop_fairseq.compat.replace import REPAIRED, replace

# What torch.serialization.add_safe_globals takes: a class or function, or one with the
# "module.name" under which it stands in the file.
SafeGlobal = Any


def allow_checkpoint_classes() -> None:
    """Let ``torch.load`` read fairseq's checkpoints with ``weights_only`` on.

    Since torch 2.6 ``torch.load`` builds only objects of classes on an allow-list, and
    fairseq's checkpoints hold a few that are not on it: the ``argparse.Namespace`` of the
    model's options, and the NumPy numbers that ``--eval-bleu`` and other metrics leave in the
    saved meters.  Without them resume, generate, interactive, validate and ``from_pretrained``
    end in ``WeightsUnpickler error``.  The list grows by data classes only; a file that
    names anything else (a function such as ``os.system``) is still refused.  What plain values can
    do is the matter of :mod:`literals` and :mod:`checkpoint_contents`.

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


def copy_checkpoints_aside() -> None:
    """Let no copy of a checkpoint appear before it is complete.

    fairseq saves a checkpoint aside and renames it, but then copies it to
    ``checkpoint_last.pt`` and ``checkpoint_best.pt`` in place.  A run that is killed during the
    copy leaves half a ``checkpoint_last.pt`` and cannot resume from it.

    Ends with: a fairseq whose ``PathManager.copy`` renames (none so far).
    """
    original = PathManager.copy
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def copy(src: str, dst: str, *args: Any, **kwargs: Any) -> Any:
        if not PathManager.supports_rename(dst):
            return original(src, dst, *args, **kwargs)
        copied = original(src, f"{dst}.tmp", *args, **kwargs)
        os.replace(f"{dst}.tmp", dst)
        return copied

    replace(PathManager, copy)
    PathManager.copy = staticmethod(copy)  # as it was
