"""What cannot be used is refused in a sentence, not with a traceback."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from fairseq.distributed import utils as distributed_utils

from lrdrop_fairseq.compat.replace import REPAIRED, replace


class Refused(ValueError):
    """A checkpoint or an option that cannot be used; the message says why and what to do."""


def end_with_a_sentence() -> None:
    """Let a command of fairseq end with the message of :class:`Refused` alone, status 1.

    Without it the message stands below a traceback of some 20 calls.  ``from_pretrained`` and other
    callers in Python see the exception.  (``fairseq-hydra-train`` prints its own, and processes
    that fairseq starts itself print the traceback.)
    """
    _end_training()
    if not hasattr(sys.excepthook, REPAIRED):  # of commands that do without call_main
        replace(sys, _excepthook(sys.excepthook))


def _end_training() -> None:
    original = distributed_utils.call_main
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def call_main(cfg: Any, main: Any, **options: Any) -> None:
        try:
            original(cfg, main, **options)
        except Refused as error:
            raise SystemExit(f"error: {error}") from error

    replace(distributed_utils, call_main)


def _excepthook(original: Callable[..., Any]) -> Callable[..., Any]:
    def excepthook(cls: type[BaseException], error: BaseException, trace: Any) -> None:
        if isinstance(error, Refused):
            print(f"error: {error}", file=sys.stderr)
        else:
            original(cls, error, trace)

    return excepthook
