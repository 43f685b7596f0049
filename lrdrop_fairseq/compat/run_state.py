"""Repairs of when a run ends, and of what it does when it is started again."""

from __future__ import annotations

import functools
import logging
from typing import Any

from fairseq import checkpoint_utils

from lrdrop_fairseq.compat.replace import REPAIRED, replace

logger = logging.getLogger(__name__)


def leave_finished_training_alone() -> None:
    """Let a training that has reached ``--max-update`` end at once when it is started again.

    fairseq looks at ``--max-update`` only after an update, so the same command given again makes
    one more, validates, and writes all checkpoints anew. ``--max-epoch`` it looks at before, which
    is what ends the training here.

    Ends with: a fairseq that looks at ``--max-update`` before the first update (none so far).
    """
    original = checkpoint_utils.load_checkpoint
    if hasattr(original, REPAIRED):
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

    replace(checkpoint_utils, load_checkpoint)
