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
from lrdrop_fairseq.criterions.schedule import Schedule
from lrdrop_fairseq.criterions.siamese_criterion import SiameseCriterion

logger = logging.getLogger(__name__)

# Of a checkpoint's ``extra_state``: the schedule of the training that wrote it, in updates.
START, RAMP = "lr_drop_start", "lr_drop_ramp"


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
        schedule = _schedule(trainer)
        if schedule is not None and trainer.cfg.optimization.max_epoch >= 0:  # else none to train
            _rehearse(trainer)
            _compare(schedule, extra_state or {}, trainer.get_num_updates())
            _announce(schedule, trainer, epoch_itr)
        return extra_state, epoch_itr

    @functools.wraps(save)
    def save_checkpoint(self: Any, filename: str, extra_state: dict[str, Any]) -> Any:
        schedule = _schedule(self)
        if schedule is not None:
            extra_state = {**extra_state, START: schedule.start, RAMP: schedule.ramp}
        return save(self, filename, extra_state)

    replace(checkpoint_utils, load_checkpoint, START)
    replace(Trainer, save_checkpoint, START)


def _schedule(trainer: Any) -> Schedule | None:
    """When the terms act; None where there are no terms."""
    criterion = trainer.get_criterion() if isinstance(trainer, Trainer) else None
    if isinstance(criterion, SiameseCriterion) and criterion.siamese:
        return criterion.schedule
    return None


def _rehearse(trainer: Any) -> None:
    """Refuse what LR-Drop cannot train here, where fairseq does not save it as ``crash.pt``."""
    batch = trainer._dummy_batch
    # Else the first step does it: no batch here, or a task that makes its samples of it (several
    # pairs of languages, each with a model of its own, say).
    if isinstance(batch, dict) and {"net_input", "target"} <= batch.keys():
        sample, _ = trainer._prepare_sample(batch)
        trainer.get_criterion().rehearse(trainer.model, sample)


def _compare(now: Schedule, extra_state: dict[str, Any], updates: int) -> None:
    """Warn if the terms of a training that is resumed have acted, and now would not, or less."""
    if START not in extra_state:
        return
    before = Schedule(extra_state[START], extra_state.get(RAMP, 0))
    had, has = before.strength(updates - 1), now.strength(updates)
    if had > has:
        logger.warning(
            "LR-Drop's terms have acted in this training since update %d and had %.0f %% of their "
            "weights; from here, update %d, they have %.0f %% (below 1, --lr-drop-start and "
            "--lr-drop-ramp are parts of --max-update): --lr-drop-start %d --lr-drop-ramp %d lets "
            "them go on", before.start, 100 * had, updates, 100 * has, before.start, before.ramp,
        )  # fmt: skip


def _announce(schedule: Schedule, trainer: Any, epoch_itr: Any) -> None:
    """Log the update after which the terms act; a warning if there will be none, or not in full."""
    start, full, updates = schedule.start, schedule.start + schedule.ramp, trainer.get_num_updates()
    if updates >= start:
        since = f"since update {start}" if start else "from the first update on"
        logger.info("LR-Drop's terms act, %s", since)
    if updates >= full:
        return
    ends = _ends(trainer, epoch_itr)
    limit = min(ends, key=lambda name: ends[name], default=None)
    if limit is not None and start < ends[limit] < full:
        logger.warning(
            "the weights of LR-Drop's terms rise until update %d, but %s ends this training after "
            "update %d: give a smaller --lr-drop-start or --lr-drop-ramp", full, limit, ends[limit],
        )  # fmt: skip
    if updates >= start:
        return
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
        skip, listed = limits.skip_remainder_batch, list(limits.update_freq)

        def updates(frequency: int) -> int:  # of an epoch; without the last batch what fills none
            return (batches - 1) // frequency if skip else math.ceil(batches / frequency)

        epochs = range(epoch_itr.next_epoch_idx, limits.max_epoch + 1)
        # One by one as far as they can differ: then the last one holds, for however many epochs.
        first = [listed[min(epoch, len(listed)) - 1] for epoch in epochs[: len(listed)]]
        ahead = sum(map(updates, first)) + (len(epochs) - len(first)) * updates(listed[-1])
        if first:
            ahead -= epoch_itr.iterations_in_epoch // first[0]
        ends[f"--max-epoch {limits.max_epoch}"] = trainer.get_num_updates() + ahead
    return ends


def _other_limits(cfg: Any) -> list[str]:
    """Limits that end a training at an update that nobody knows before."""
    names = []
    if cfg.checkpoint.patience > 0:
        names.append(f"--patience {cfg.checkpoint.patience}")
    if cfg.optimization.stop_time_hours > 0:
        names.append(f"--stop-time-hours {cfg.optimization.stop_time_hours:g}")
    # Of other schedules the rate is known before; few come so low.
    falls_by_itself = getattr(cfg.lr_scheduler, "_name", None) == "reduce_lr_on_plateau"
    if falls_by_itself and cfg.optimization.stop_min_lr > 0:
        names.append(f"--stop-min-lr {cfg.optimization.stop_min_lr:g}")
    return names
