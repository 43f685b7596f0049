"""Repairs of what the schedules of the learning rate keep of themselves."""

from __future__ import annotations

import functools
from typing import Any

from fairseq.optim.lr_scheduler.reduce_lr_on_plateau import ReduceLROnPlateauLRSchedule

from lrdrop_fairseq.compat.replace import REPAIRED, replace

COUNTERS = ("num_bad_epochs", "cooldown_counter")


def keep_plateau() -> None:
    """Let ``--lr-scheduler reduce_lr_on_plateau`` count on when a run resumes.

    fairseq saves the best loss and not how many epochs have passed since: a run that resumes waits
    for ``--lr-patience`` epochs more before it lowers the learning rate.

    Ends with: a fairseq whose schedule saves all of torch's (none so far).
    """
    save = ReduceLROnPlateauLRSchedule.state_dict
    load = ReduceLROnPlateauLRSchedule.load_state_dict
    if hasattr(save, REPAIRED):
        return

    @functools.wraps(save)
    def state_dict(self: Any) -> dict[str, Any]:
        return {**save(self), **{name: getattr(self.lr_scheduler, name) for name in COUNTERS}}

    @functools.wraps(load)
    def load_state_dict(self: Any, state_dict: dict[str, Any]) -> None:
        load(self, state_dict)
        kept = {name: state_dict[name] for name in COUNTERS if name in state_dict}
        vars(self.lr_scheduler).update(kept)

    replace(ReduceLROnPlateauLRSchedule, state_dict)
    replace(ReduceLROnPlateauLRSchedule, load_state_dict)
