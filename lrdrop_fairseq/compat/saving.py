"""Repairs of how a checkpoint is written, and of who may write it."""

from __future__ import annotations

import functools
import logging
import time
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.distributed import utils as distributed_utils
from fairseq.trainer import Trainer

from lrdrop_fairseq import save_dir_lock
from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.compat.replace import REPAIRED, replace

logger = logging.getLogger(__name__)

ATTEMPTS, PAUSE = 3, 2.5  # seconds; as fairseq has them

HOLDS_SAVE_DIR = "_lrdrop_holds_save_dir"


def begin_each_attempt_anew() -> None:
    """Let an attempt to save a checkpoint begin with an empty file.

    fairseq tries three times, 2.5 s apart, and writes behind what the attempt before has left. A
    disk that is full for a moment then gives a checkpoint that cannot be read, under its final name
    and with status 0.

    Ends with: a fairseq that empties the file before it tries again (none so far).
    """
    original = checkpoint_utils._torch_persistent_save
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def _torch_persistent_save(obj: Any, f: Any) -> None:
        if isinstance(f, str):
            return original(obj, f)  # type: ignore[no-any-return]  # opens it, and comes back
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if attempt > 1:
                    f.seek(0)
                    f.truncate()
                torch.save(obj, f)
                f.flush()  # what still waits in memory may find the disk full
                return None
            except Exception as error:
                if attempt == ATTEMPTS:
                    raise
                logger.warning("saving a checkpoint failed, trying again: %s", error)
            time.sleep(PAUSE)

    replace(checkpoint_utils, _torch_persistent_save)


def hold_save_dir() -> None:
    """Let one training at a time write into a ``--save-dir``.

    Two in one folder mix their checkpoints, delete each other's by ``--keep-last-epochs``, or die
    in the middle of saving, where a file is gone that they have just written.  Here the first
    process of a run holds the folder (see :mod:`lrdrop_fairseq.save_dir_lock`) from before it reads
    ``checkpoint_last.pt`` until it ends; a second training is refused.

    Ends with: a fairseq that locks the folder (none so far).
    """
    original = checkpoint_utils.load_checkpoint
    if hasattr(original, HOLDS_SAVE_DIR):
        return

    @functools.wraps(original)
    def load_checkpoint(cfg: Any, trainer: Any, **passthrough_args: Any) -> Any:
        writes = isinstance(trainer, Trainer) and not cfg.no_save
        if writes and distributed_utils.is_master(trainer.cfg.distributed_training):
            try:
                save_dir_lock.hold(Path(cfg.save_dir))
            except save_dir_lock.SaveDirInUseError as error:
                raise Refused(str(error)) from error
        return original(cfg, trainer, **passthrough_args)

    replace(checkpoint_utils, load_checkpoint, HOLDS_SAVE_DIR)
