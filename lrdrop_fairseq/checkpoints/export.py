"""The ordinary checkpoint that one trained with LR-Drop amounts to.

Parameters and optimizer state stay as they are: their names are fairseq's.  Architecture and
criterion are replaced by their parents, the user-dir by none.  The options become one flat list
under ``args``, as up to fairseq 0.10: of all formats that one has the most readers, any fairseq
and converters such as CTranslate2's.  All values are plain, so that torch >= 2.6 loads the file
with nothing added to its list of safe classes; it does so with no checkpoint that fairseq writes.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np
from torch import Tensor

from lrdrop_fairseq.checkpoints.export_options import (
    ExportError,
    flat_options,
    parent_criterions,
    replace_architecture,
    replace_criterion,
    replace_task,
)
from lrdrop_fairseq.checkpoints.model import ModelError, check_parameters
from lrdrop_fairseq.criterions.term_start import RAMP, START

# What LR-Drop's criterions log and their parents do not.
_LOGGED_TERMS = ("hidden_loss", "attention_loss", "output_loss", "task_loss")


def export(checkpoint: dict[str, Any], drop_optimizer: bool = False) -> dict[str, Any]:
    """The ordinary fairseq checkpoint that ``checkpoint``, as ``torch.load`` gives it, amounts to.

    Args:
        drop_optimizer: leave out what only a resumed training needs, the state of the optimizer
            and of the moving average.

    Raises:
        ExportError: it is no checkpoint of fairseq, there is nothing of LR-Drop in it, its
            architecture is unknown, its parameters are not those of the architecture, or it holds
            objects that plain fairseq could not load.
    """
    options = flat_options(checkpoint)
    changed = [replace_architecture(options), replace_criterion(options), replace_task(options)]
    if not any(changed):
        raise ExportError(
            f"architecture {options['arch']} and criterion {options['criterion']} are no LR-Drop "
            "ones: this is an ordinary checkpoint already"
        )
    options["user_dir"] = None
    try:
        check_parameters(options, checkpoint["model"])
    except ModelError as error:
        raise ExportError(str(error)) from error
    result = {key: value for key, value in checkpoint.items() if key not in ("args", "cfg")}
    extra = result["extra_state"] = dict(checkpoint["extra_state"])
    left_out = [START, RAMP]
    if drop_optimizer:
        result.pop("last_optimizer_state", None)
        left_out += ["ema", "ema_fp32_params"]
    for name in left_out:
        extra.pop(name, None)
    if "metrics" in extra:
        extra["metrics"] = _without_terms(extra["metrics"])
    # fairseq resumes with the optimizer only if the criterion is of the class named here.
    parents = parent_criterions(options)
    result["optimizer_history"] = [
        {**entry, "criterion_name": parents.get(entry["criterion_name"], entry["criterion_name"])}
        for entry in checkpoint["optimizer_history"]
    ]
    result = {key: plain(value, key) for key, value in result.items()}
    return {"args": readable_as_attributes(plain(options, "args")), **result}


def _without_terms(metrics: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Saved meters, (priority, key, class, state) each, without those of LR-Drop's terms.

    A resumed plain training would go on to log their last values.
    """
    return {
        name: [meter for meter in meters if meter[1] not in _LOGGED_TERMS]
        for name, meters in metrics.items()
    }


def plain(value: Any, where: str) -> Any:
    """``value`` in containers, numbers, strings and tensors alone; ``where`` is for messages."""
    if value is None or type(value) in (bool, int, float, str) or isinstance(value, Tensor):
        return value
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, Mapping):
        return {plain(k, where): plain(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        values = [plain(v, where) for v in value]
        return tuple(values) if isinstance(value, tuple) else values
    if isinstance(value, Enum):
        return plain(value.value, where)
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise ExportError(f"{where} holds a {type(value).__name__}, which plain fairseq cannot load")


def readable_as_attributes(options: dict[str, Any]) -> OrderedDict[str, Any]:
    """What reads like an ``argparse.Namespace`` and is on torch's list of safe classes."""
    result = OrderedDict(options)
    vars(result).update(options)
    return result
