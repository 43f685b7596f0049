"""Repairs of what is said of a model that fairseq does not know."""

from __future__ import annotations

import functools
from typing import Any

from fairseq import models

from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.compat.replace import REPAIRED, replace


def name_the_architecture() -> None:
    """Let a checkpoint of an architecture that nothing registers say which it is.

    fairseq tries to guess it, and ends in an IndexError or prints all options; the folder that
    the checkpoint names is not imported, as that would run what somebody else has put there.

    Ends with: a fairseq whose ``models.build_model`` looks first (none so far).
    """
    original = models.build_model
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def build_model(cfg: Any, *args: Any, **kwargs: Any) -> Any:
        name = getattr(cfg, "_name", None) or getattr(cfg, "arch", None)
        if name and not registered(name):
            raise Refused(
                f"architecture {name!r} is unknown: add the --user-dir that it was trained with "
                "(after -- of a script)"
            )
        return original(cfg, *args, **kwargs)

    replace(models, build_model)


def registered(name: str) -> bool:
    """Whether an architecture or a model has this name."""
    return name in models.ARCH_MODEL_REGISTRY or name in models.MODEL_REGISTRY
