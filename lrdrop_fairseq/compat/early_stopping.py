"""fairseq's counter for ``--patience``: where it is, and what a checkpoint keeps of it.

The counter is ``should_stop_early``, a function of the training loop that counts in attributes of
its own: ``best``, the best validation, and ``num_runs``, the validations since.
"""

from __future__ import annotations

import inspect
from typing import Any

IN_CHECKPOINT = "lr_drop_early_stopping"


def counter() -> Any:
    """``should_stop_early`` of the training loop that this is called from; None outside of one.

    The loop stands in ``fairseq_cli.train``, in ``__main__`` where that is run as a program, or in
    somebody's copy of it: so it is looked for among the callers.
    """
    frame = inspect.currentframe()
    while frame is not None:
        found = frame.f_globals.get("should_stop_early")
        if callable(found):
            return found
        frame = frame.f_back
    return None


def runs() -> int:
    """Validations without improvement so far."""
    return int(getattr(counter(), "num_runs", 0))


def forget() -> None:
    """Begin to count anew."""
    counting = counter()
    for name in ("best", "num_runs"):
        if hasattr(counting, name):
            delattr(counting, name)


def state() -> dict[str, Any]:
    """What a checkpoint gets: empty before the first validation, or without ``--patience``."""
    counting = counter()
    if not hasattr(counting, "best"):
        return {}
    return {IN_CHECKPOINT: {"best": counting.best, "num_runs": counting.num_runs}}


def recover(extra_state: dict[str, Any]) -> None:
    """Go on counting where the training stood that saved the checkpoint.

    A checkpoint of fairseq without the plugin has the best validation alone.
    """
    counting = counter()
    saved = extra_state.get(IN_CHECKPOINT) or {"best": extra_state.get("best"), "num_runs": 0}
    if counting is not None and saved["best"] is not None:
        counting.best, counting.num_runs = saved["best"], saved["num_runs"]
