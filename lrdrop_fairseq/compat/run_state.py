"""Repairs of when a run ends, and of what it does when it is started again."""

from __future__ import annotations

import functools
import inspect
import logging
import math
import os
from typing import Any

from fairseq import checkpoint_utils
from fairseq.trainer import Trainer

from lrdrop_fairseq.compat import early_stopping
from lrdrop_fairseq.compat.replace import replace

logger = logging.getLogger(__name__)

LEAVES_ALONE = "_lrdrop_leaves_finished_training_alone"
KEEPS_RUN_STATE = "_lrdrop_keeps_run_state"


def leave_finished_training_alone() -> None:
    """Let a training that has ended do nothing when it is started again, whatever ended it.

    fairseq looks at ``--max-update``, ``--stop-time-hours`` and ``--patience`` only after an
    update, so the same command given again makes one more (after ``--patience``, many more),
    writes all checkpoints anew and deletes old ones. ``--max-epoch`` it looks at before, which is
    what ends the training here; ``--stop-min-lr`` too, but also where a run resumes within an
    epoch, where the run that it continues did not look.

    Ends with: a fairseq that looks at every limit before the first update (none so far).
    """
    original = checkpoint_utils.load_checkpoint
    if hasattr(original, LEAVES_ALONE):
        return

    @functools.wraps(original)
    def load_checkpoint(cfg: Any, trainer: Any, **passthrough_args: Any) -> Any:
        extra_state, epoch_itr = original(cfg, trainer, **passthrough_args)
        if isinstance(trainer, Trainer) and extra_state is not None:
            reason = _why_it_ended(trainer, epoch_itr.next_epoch_idx)
            if reason:
                logger.info("nothing to train: %s", reason)
                trainer.cfg.optimization.max_epoch = -1  # 0 would be without limit
            elif epoch_itr.iterations_in_epoch > 0:
                _compare_lr_when_the_epoch_has_ended(trainer)
        return extra_state, epoch_itr

    replace(checkpoint_utils, load_checkpoint, LEAVES_ALONE)


def _why_it_ended(trainer: Any, next_epoch: int) -> str | None:
    """The limit that the run had reached when it was saved; None if it may go on."""
    limits, patience = trainer.cfg.optimization, trainer.cfg.checkpoint.patience
    updates, hours = trainer.get_num_updates(), trainer._previous_training_time / 3600
    if 0 < limits.max_update <= updates:
        return f"{updates} updates are done, --max-update is {limits.max_update}"
    if 0 < limits.max_epoch < next_epoch:
        return f"{next_epoch - 1} epochs are done, --max-epoch is {limits.max_epoch}"
    if 0 < limits.stop_time_hours < hours:
        return f"it took {hours:.2f} hours, --stop-time-hours is {limits.stop_time_hours}"
    if 0 < patience <= early_stopping.runs():
        return f"{early_stopping.runs()} validations without improvement, --patience is {patience}"
    return None


def _compare_lr_when_the_epoch_has_ended(trainer: Any) -> None:
    """Hide the learning rate from fairseq's comparison with ``--stop-min-lr`` before this epoch."""

    def get_lr() -> float:
        del trainer.get_lr
        return math.inf

    trainer.get_lr = get_lr


def keep_run_state() -> None:
    """Let a run that resumes end where the run that it continues would have ended.

    What decides that lies in part outside the checkpoint, or is read from it wrongly:

    - fairseq counts for ``--patience`` in attributes of a function.  A run that resumes counts
      from 0, and one that ended trains on.  The same attributes, and the best score, are left from
      one training to the next in one process (``fairseq-hydra-train --multirun``).
    - It saves before the validation loss reaches the scheduler at the end of an epoch, so
      ``reduce_lr_on_plateau`` does not see that loss (see also :mod:`.schedules`).
    - A checkpoint of ``--no-save-optimizer-state`` says how many updates it had, but a run that
      resumes from it begins at 0 again. (It lacks the optimizer's averages all the same, and the
      rate that ``reduce_lr_on_plateau`` had come to: a warning says so.)
    - Fine-tuning has the hours of the pretraining in ``--stop-time-hours``, though all else of
      it begins anew.

    Ends with: a fairseq that saves and loads all of it (none so far).
    """
    _save_run_state()
    _load_run_state()


def _save_run_state() -> None:
    original = Trainer.save_checkpoint
    if hasattr(original, KEEPS_RUN_STATE):
        return

    @functools.wraps(original)
    def save_checkpoint(self: Any, filename: str, extra_state: dict[str, Any]) -> Any:
        return original(self, filename, {**extra_state, **early_stopping.state()})

    replace(Trainer, save_checkpoint, KEEPS_RUN_STATE)


def _load_run_state() -> None:
    original = Trainer.load_checkpoint
    if hasattr(original, KEEPS_RUN_STATE):
        return
    signature = inspect.signature(original)

    @functools.wraps(original)
    def load_checkpoint(self: Any, filename: str, *args: Any, **kwargs: Any) -> Any:
        early_stopping.forget()
        vars(checkpoint_utils.save_checkpoint).pop("best", None)
        extra_state = original(self, filename, *args, **kwargs)
        call = signature.bind(self, filename, *args, **kwargs)
        call.apply_defaults()
        reset = call.arguments
        if extra_state is None:
            return None
        if reset["reset_optimizer"]:  # a new training, from another's parameters
            self._previous_training_time = 0
            return extra_state
        _count_updates_without_optimizer(self, filename)
        if not reset["reset_lr_scheduler"]:
            _show_loss_to_scheduler(self, extra_state)
        if not reset["reset_meters"]:  # as with fairseq's own best score
            early_stopping.recover(extra_state)
        return extra_state

    replace(Trainer, load_checkpoint, KEEPS_RUN_STATE)


def _count_updates_without_optimizer(trainer: Any, filename: str) -> None:
    """Count on from the run's own last checkpoint, if its optimizer was not saved.

    Other files without an optimizer are models to begin from.
    """
    own = f"checkpoint_last{trainer.checkpoint_suffix}.pt"
    updates = trainer._optim_history[-1]["num_updates"]
    if filename == os.path.join(trainer.cfg.checkpoint.save_dir, own):
        if trainer.get_num_updates() < updates:
            scheduler = getattr(trainer.cfg.lr_scheduler, "_name", None)
            and_rate = ", and the learning rate" if scheduler == "reduce_lr_on_plateau" else ""
            logger.warning(
                "%s: no optimizer was saved, so its averages%s begin anew", filename, and_rate
            )
            trainer.set_num_updates(updates)


def _show_loss_to_scheduler(trainer: Any, extra_state: dict[str, Any]) -> None:
    """What fairseq does with the validation loss after it has saved at the end of an epoch."""
    position = extra_state["train_iterator"]
    if position.get("iterations_in_epoch") == 0 and extra_state.get("val_loss") is not None:
        trainer.lr_step(position["epoch"] - 1, extra_state["val_loss"])
