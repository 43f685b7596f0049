"""Before the first update: rehearses a step with terms, and says when they act.

Warns where a training would end, or go on, without them.
"""

from __future__ import annotations

import functools
import logging
import math
from typing import Any

from fairseq import checkpoint_utils
from fairseq.trainer import Trainer

from lrdrop_fairseq.compat.replace import replace
from lrdrop_fairseq.criterions.siamese_criterion import SiameseCriterion

logger = logging.getLogger(__name__)

# Of a checkpoint's ``extra_state``: the start in the training that wrote it, in updates.
START = "lr_drop_start"


def say_when_terms_act() -> None:
    """Let each training say it, as it begins and as it is resumed, and keep it in checkpoints.

    Without that, a training that another limit ends before the terms act is a plain one, and
    nothing in its log says so. A step with terms is rehearsed there, too.
    """
    if hasattr(checkpoint_utils.load_checkpoint, START):
        return
    load, save = checkpoint_utils.load_checkpoint, Trainer.save_checkpoint

    @functools.wraps(load)
    def load_checkpoint(cfg: Any, trainer: Any, **passthrough_args: Any) -> Any:
        extra_state, epoch_itr = load(cfg, trainer, **passthrough_args)
        start = _start(trainer)
        if start is not None:
            if trainer.cfg.optimization.max_epoch >= 0:  # else there is nothing to train
                _rehearse(trainer)
            _compare(start, (extra_state or {}).get(START), trainer.get_num_updates())
            _announce(start, trainer, epoch_itr)
        return extra_state, epoch_itr

    @functools.wraps(save)
    def save_checkpoint(self: Any, filename: str, extra_state: dict[str, Any]) -> Any:
        start = _start(self)
        return save(self, filename, extra_state if start is None else {**extra_state, START: start})

    replace(checkpoint_utils, load_checkpoint, START)
    replace(Trainer, save_checkpoint, START)


def _start(trainer: Any) -> int | None:
    """Updates before the terms act; None where there are no terms."""
    criterion = trainer.get_criterion() if isinstance(trainer, Trainer) else None
    if isinstance(criterion, SiameseCriterion) and criterion.siamese:
        return criterion.schedule.start
    return None


def _rehearse(trainer: Any) -> None:
    """Refuse what LR-Drop cannot train here, where fairseq does not save it as ``crash.pt``."""
    batch = trainer._dummy_batch
    # Else the first step does it: no batch here, or a task that makes its samples of it (several
    # pairs of languages, each with a model of its own, say).
    if isinstance(batch, dict) and {"net_input", "target"} <= batch.keys():
        sample, _ = trainer._prepare_sample(batch)
        trainer.get_criterion().rehearse(trainer.model, sample)


def _compare(start: int, before: int | None, updates: int) -> None:
    """Warn if the terms of a training that is resumed have acted, and now would not."""
    if before is not None and before < updates < start:
        logger.warning(
            "LR-Drop's terms have acted in this training since update %d, and this start, %d, "
            "switches them off again from here, update %d, until then (below 1, --lr-drop-start "
            "is a part of --max-update): --lr-drop-start %d lets them go on",
            before, start, updates, before,
        )  # fmt: skip


def _announce(start: int, trainer: Any, epoch_itr: Any) -> None:
    """Log the update after which the terms act; a warning if there will be none."""
    if trainer.get_num_updates() >= start or trainer.cfg.optimization.max_epoch < 0:
        return  # they act at once; or there is nothing to train
    ends = _ends(trainer, epoch_itr)
    limit = min(ends, key=lambda name: ends[name], default=None)
    if limit is not None and ends[limit] <= start:
        logger.warning(
            "LR-Drop's terms would act from update %d on, but %s ends this training after update "
            "%d: all of it is plain training. Give a smaller --lr-drop-start, or train for longer",
            start, limit, ends[limit],
        )  # fmt: skip
        return
    logger.info("plain training until update %d, from there on LR-Drop's terms act", start)
    other = _other_limits(trainer.cfg)
    if other:
        logger.warning(
            "%s can end this training before LR-Drop's terms act, from update %d on, where plain "
            "training stands still: leave it out, or let them act at once with --lr-drop-start 0",
            " or ".join(other), start,
        )  # fmt: skip


def _ends(trainer: Any, epoch_itr: Any) -> dict[str, int]:
    """By the limit that sets it: how many updates the training will have."""
    limits, ends = trainer.cfg.optimization, {}
    if limits.max_update > 0:
        ends[f"--max-update {limits.max_update}"] = limits.max_update
    if limits.max_epoch > 0:
        try:
            batches = len(epoch_itr)
        except (NotImplementedError, TypeError):  # of data that are streamed
            return ends
        first = epoch_itr.next_epoch_idx
        frequencies = [
            limits.update_freq[min(epoch, len(limits.update_freq)) - 1]
            for epoch in range(first, limits.max_epoch + 1)
        ]
        if limits.skip_remainder_batch:  # the last batch, and then what fills no update
            updates = sum((batches - 1) // frequency for frequency in frequencies)
        else:
            updates = sum(math.ceil(batches / frequency) for frequency in frequencies)
        if frequencies:
            updates -= epoch_itr.iterations_in_epoch // frequencies[0]
        ends[f"--max-epoch {limits.max_epoch}"] = trainer.get_num_updates() + updates
    return ends


def _other_limits(cfg: Any) -> list[str]:
    """Limits that end a training at an update that nobody knows before."""
    names = []
    if cfg.checkpoint.patience > 0:
        names.append(f"--patience {cfg.checkpoint.patience}")
    if cfg.optimization.stop_time_hours > 0:
        names.append(f"--stop-time-hours {cfg.optimization.stop_time_hours:g}")
    falls_by_itself = getattr(cfg.lr_scheduler, "_name", None) == "reduce_lr_on_plateau"
    if falls_by_itself and cfg.optimization.stop_min_lr > 0:
        names.append(f"--stop-min-lr {cfg.optimization.stop_min_lr:g}")
    return names
