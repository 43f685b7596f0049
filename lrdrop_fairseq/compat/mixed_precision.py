"""Repairs of what a checkpoint keeps of a training in mixed precision."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import torch
from fairseq.optim import amp_optimizer, fp16_optimizer

from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.compat.replace import REPAIRED, replace

logger = logging.getLogger(__name__)

# What fairseq's DynamicLossScaler counts, beside the scale itself, which fairseq saves.
COUNTERS = ("_iter", "_last_overflow_iter", "_last_rescale_iter", "_overflows_since_rescale")


def keep_mixed_precision_state() -> None:
    """Let a run with ``--bf16``, ``--fp16`` or ``--amp`` resume with the state that it had.

    Under ``--bf16`` and ``--fp16`` the optimizer changes float32 master weights, and the model
    is their rounded copy.  fairseq saves the copy alone, so a run that resumes starts from
    rounded master weights and ends elsewhere than an uninterrupted one.  With ``--fp16`` the
    counters are missing that say when the loss scale grows (and with them the memory-efficient
    variant resumes with other scales), with ``--amp`` the loss scale itself.  Here all of that
    stands in the optimizer's part of the checkpoint, where fairseq without the plugin reads
    over it; what has no float32 copy (``--memory-efficient-bf16``) never lost anything.

    Ends with: a fairseq that saves ``fp32_params`` and the whole state of its loss scalers (none
    so far).
    """
    mixed = fp16_optimizer._FP16OptimizerMixin
    _save_more(mixed, _master_weights, _restore_master_weights)
    _save_more(fp16_optimizer._MemoryEfficientFP16OptimizerMixin, _counters, _restore_counters)
    _save_more(amp_optimizer.AMPOptimizer, _grad_scaler, _restore_grad_scaler)


def _save_more(
    optimizer_class: Any,
    more: Callable[[Any], dict[str, Any]],
    restore: Callable[[Any, dict[str, Any]], None],
) -> None:
    """Add ``more(optimizer)`` to the optimizer's state; ``restore(optimizer, state)`` reads it."""
    save, load = optimizer_class.state_dict, optimizer_class.load_state_dict
    if hasattr(save, REPAIRED):
        return

    @functools.wraps(save)
    def state_dict(self: Any) -> dict[str, Any]:
        return {**save(self), **more(self)}

    @functools.wraps(load)
    def load_state_dict(self: Any, state_dict: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        load(self, state_dict, *args, **kwargs)
        restore(self, state_dict)

    replace(optimizer_class, state_dict)
    replace(optimizer_class, load_state_dict)


def _masters(optimizer: Any) -> list[torch.Tensor]:
    """The float32 weights: one flat tensor a device, or one a parameter of the model."""
    held = optimizer.fp32_params
    if torch.is_tensor(held):
        return [held.data]
    return [master.data for master in (held.values() if isinstance(held, dict) else held)]


def _master_weights(optimizer: Any) -> dict[str, Any]:
    return {"fp32_params": _masters(optimizer), **_counters(optimizer)}


def _restore_master_weights(optimizer: Any, state: dict[str, Any]) -> None:
    """Take the saved master weights where the model's are still their rounded copy.

    Where they are not, somebody has changed the model in the checkpoint (averaged it, say), and
    the model counts, as it does in fairseq.
    """
    _restore_counters(optimizer, state)
    if "fp32_params" not in state:
        logger.info("the checkpoint has no float32 master weights: going on from the model's")
        return
    saved, masters = state["fp32_params"], _masters(optimizer)  # the masters: the model's weights
    if [master.shape for master in saved] != [master.shape for master in masters]:
        raise Refused(
            "the checkpoint's float32 master weights have other shapes than this model's: resume "
            "with the flags of the first run, or begin anew with --reset-optimizer"
        )
    rounded = optimizer.fp16_params[0].dtype
    for master, kept in zip(masters, saved):
        kept = kept.to(master)
        master.copy_(torch.where(kept.to(rounded).to(master) == master, kept, master))


def _counters(optimizer: Any) -> dict[str, Any]:
    """Of the loss scaler; with bfloat16 there is none."""
    if optimizer.scaler is None:
        return {}
    return {"loss_scale_counters": {name: getattr(optimizer.scaler, name) for name in COUNTERS}}


def _restore_counters(optimizer: Any, state: dict[str, Any]) -> None:
    if optimizer.scaler is not None:
        saved = state.get("loss_scale_counters", {})
        for name in COUNTERS:
            setattr(optimizer.scaler, name, saved.get(name, getattr(optimizer.scaler, name)))


def _grad_scaler(optimizer: Any) -> dict[str, Any]:
    """The scale of ``--amp``, and for how many updates it has held; on a CPU there is none."""
    state = optimizer.scaler.state_dict()
    kept = ("scale", "_growth_tracker") if state else ()
    return {"grad_scaler": {name: state[name] for name in kept}}


def _restore_grad_scaler(optimizer: Any, state: dict[str, Any]) -> None:
    if optimizer.scaler.is_enabled() and state.get("grad_scaler"):
        optimizer.scaler.load_state_dict({**optimizer.scaler.state_dict(), **state["grad_scaler"]})
