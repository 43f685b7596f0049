"""Repairs of what is said of a model that fairseq does not know."""

from __future__ import annotations

import difflib
import functools
from typing import Any

from fairseq import models

from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.compat.replace import REPAIRED, replace


def name_the_architecture() -> None:
    """Let an architecture that nothing registers be named, of a checkpoint or of a YAML file.

    fairseq tries to guess it, and ends in a KeyError, an IndexError or prints all options; the
    folder that a checkpoint names is not imported, as that would run what somebody else has put
    there.

    Ends with: a fairseq whose ``models.build_model`` looks first (none so far).
    """
    original = models.build_model
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def build_model(cfg: Any, task: Any, from_checkpoint: bool = False) -> Any:
        name = getattr(cfg, "_name", None) or getattr(cfg, "arch", None)
        if name and not registered(name):
            if from_checkpoint:
                what_to_do = ": add the --user-dir that it was trained with (after -- of a script)"
            else:
                near = difflib.get_close_matches(name, models.ARCH_MODEL_REGISTRY, n=1)
                similar = f" (there is {near[0]!r})" if near else ""
                what_to_do = f"{similar}: correct its name, or give the --user-dir that has it"
            raise Refused(f"architecture {name!r} is unknown{what_to_do}")
        return original(cfg, task, from_checkpoint)

    replace(models, build_model)


def registered(name: str) -> bool:
    """Whether an architecture or a model has this name."""
    return name in models.ARCH_MODEL_REGISTRY or name in models.MODEL_REGISTRY
