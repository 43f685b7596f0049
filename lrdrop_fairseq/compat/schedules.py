"""Repairs of what the schedules of learning rate and loss scale keep of themselves."""

from __future__ import annotations

import functools
from typing import Any

from fairseq.optim import amp_optimizer, fp16_optimizer
from fairseq.optim.lr_scheduler.reduce_lr_on_plateau import ReduceLROnPlateauLRSchedule

from lrdrop_fairseq.compat.replace import replace

KEEPS_COUNTERS = "_lrdrop_keeps_counters"
SCALER = "lr_drop_loss_scaler"


def keep_plateau() -> None:
    """Let ``--lr-scheduler reduce_lr_on_plateau`` count on when a run resumes.

    fairseq saves the best loss and not how many epochs have passed since: a run that resumes waits
    for ``--lr-patience`` epochs more before it lowers the learning rate.

    Ends with: a fairseq whose schedule saves all of torch's (none so far).
    """
    names = ("num_bad_epochs", "cooldown_counter")

    def saved(schedule: Any) -> dict[str, Any]:
        return {name: getattr(schedule.lr_scheduler, name) for name in names}

    def recover(schedule: Any, state: dict[str, Any]) -> None:
        vars(schedule.lr_scheduler).update({name: state[name] for name in names if name in state})

    _extend(ReduceLROnPlateauLRSchedule, saved, recover)


def keep_loss_scaler() -> None:
    """Let ``--fp16`` and ``--amp`` raise the loss scale when they would have without a resume.

    fairseq saves the scale of ``--fp16`` but not for how long there was no overflow, and nothing
    of ``--amp``'s scaler.  So a run that resumes overflows, and skips an update, elsewhere than
    the run that it continues.

    Ends with: a fairseq that saves its scalers whole (none so far).
    """

    def saved(optimizer: Any) -> dict[str, Any]:
        return {SCALER: _counters(optimizer.scaler)} if optimizer.scaler is not None else {}

    def recover(optimizer: Any, state: dict[str, Any]) -> None:
        if SCALER in state and optimizer.scaler is not None:
            _recover_counters(optimizer.scaler, state[SCALER])

    for optimizer in (
        fp16_optimizer._FP16OptimizerMixin,
        fp16_optimizer._MemoryEfficientFP16OptimizerMixin,
        amp_optimizer.AMPOptimizer,
    ):
        _extend(optimizer, saved, recover)


def _counters(scaler: Any) -> dict[str, Any]:
    if hasattr(scaler, "state_dict"):  # torch's, of --amp
        return dict(scaler.state_dict())
    return {name: value for name, value in vars(scaler).items() if name.startswith("_")}


def _recover_counters(scaler: Any, state: dict[str, Any]) -> None:
    # torch's scaler refuses an empty state, which one that is switched off has written.
    if hasattr(scaler, "load_state_dict"):
        if state:
            scaler.load_state_dict(state)
    else:
        vars(scaler).update({name: value for name, value in state.items() if name in vars(scaler)})


def _extend(owner: Any, saved: Any, recover: Any) -> None:
    """Add ``saved(object)`` to the state of ``owner``'s objects, and ``recover`` it on loading."""
    original_state, original_load = owner.state_dict, owner.load_state_dict
    if hasattr(original_state, KEEPS_COUNTERS):
        return

    @functools.wraps(original_state)
    def state_dict(self: Any) -> dict[str, Any]:
        return {**original_state(self), **saved(self)}

    @functools.wraps(original_load)
    def load_state_dict(self: Any, state_dict: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        original_load(self, state_dict, *args, **kwargs)
        recover(self, state_dict)

    replace(owner, state_dict, KEEPS_COUNTERS)
    replace(owner, load_state_dict, KEEPS_COUNTERS)
