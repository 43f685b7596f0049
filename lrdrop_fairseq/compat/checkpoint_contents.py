"""Repairs of what fairseq takes from a checkpoint without looking at it."""

from __future__ import annotations

import argparse
import logging
import os
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from fairseq import checkpoint_utils
from omegaconf import OmegaConf

from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.compat.replace import REPAIRED, replace

logger = logging.getLogger(__name__)

# Options that name a file to be written, or a command to be run; fairseq-validate takes the first
# from the checkpoint, and empties the file.  On the command line they do what they always did.
ACTING = ("save_predictions", "post_save_script")

# ${task.data}: the value of another option.
_REFERENCE = re.compile(r"\$\{[\w.\[\]-]*\}")


def check_checkpoints() -> None:
    """Let fairseq take nothing from a checkpoint that is damaged or that acts.

    Without it an empty or foreign file ends in ``EOFError: Ran out of input``, ``KeyError:
    'best_loss'`` or ``AttributeError: 'int' object has no attribute 'items'``.  omegaconf resolves
    ``${oc.env:HOME}`` in the options to the reader's environment, and ``${name:…}`` to a call of
    any function that is registered there; ``fairseq-validate`` opens the file for writing that the
    option ``save_predictions`` names.  See :func:`load` for what is let through.

    Ends with: a fairseq that looks at what it has read (none so far).
    """
    if hasattr(checkpoint_utils.torch.load, REPAIRED):
        return
    checking = _Torch("torch")
    replace(checking, load)
    checkpoint_utils.torch = checking


class _Torch(types.ModuleType):
    """torch, for one module of fairseq: what is set on it, or else torch's own."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def load(file: Any, **options: Any) -> Any:
    """``torch.load`` of a checkpoint of fairseq, with what it holds checked.

    Options that would act (:data:`ACTING`) are set to None, with a warning.

    Args:
        file: a path or an open file.
        options: of ``torch.load``.

    Raises:
        Refused: the file cannot be read; is no dictionary; its ``model`` is no dictionary of
            tensors; the history of its training is missing; its options are of another kind, or
            call a function of omegaconf.
    """
    path = file if isinstance(file, (str, os.PathLike)) else getattr(file, "name", "checkpoint")
    try:
        state = torch.load(file, **options)
    except OSError:
        raise
    except Exception as error:  # a damaged file makes torch raise any of a dozen kinds
        raise Refused(
            f"{path}: cannot be read as a checkpoint ({_reason(error, path)}); give another one, "
            "or delete it if it is in the way of a run that begins anew"
        ) from error
    try:
        _check_parts(state)
        for name in ("args", "cfg"):
            if state.get(name) is not None:
                state[name] = _plain_groups(state[name])
                _check_options(state[name], path)
    except Refused as error:
        raise Refused(f"{path}: {error}") from error
    return state


def _reason(error: Exception, path: Any) -> str:
    """Why torch could not read the file, in a line."""
    if os.path.isfile(path) and not os.path.getsize(path):
        return "the file is empty"
    # Around its reason torch advises to load the file unsafely.
    lines = str(error).rpartition("WeightsUnpickler error: ")[2].splitlines()
    lines = [line for line in lines if line.strip() and not line.startswith("Weights only load")]
    return lines[0].strip() if lines else type(error).__name__


def _check_parts(state: Any) -> None:
    """Raise Refused unless ``state`` has the parts that every checkpoint of fairseq has."""
    if not isinstance(state, dict):
        raise Refused(f"holds a {type(state).__name__}, and is no checkpoint of fairseq")
    model = state.get("model")
    if not isinstance(model, Mapping):
        raise Refused("is no checkpoint of fairseq: its model is no dictionary of tensors")
    for name, value in model.items():
        # Mappings: an average of the parameters that the model keeps (data2vec).
        if not isinstance(value, (torch.Tensor, Mapping)) and not _extra(name):
            raise Refused(
                f"its model is no dictionary of tensors: {name!r} is a {type(value).__name__}"
            )
    for new, old in (("optimizer_history", "best_loss"), ("extra_state", "epoch")):
        if new not in state and old not in state:
            raise Refused(f"is no checkpoint of fairseq: it has no {new}")
    history = state.get("optimizer_history", [{}])
    entries = history if isinstance(history, list) else []
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        raise Refused("is damaged: its optimizer_history is no list of dictionaries")
    if not isinstance(state.get("extra_state", {}), dict):
        raise Refused("is damaged: its extra_state is no dictionary")


def _extra(name: Any) -> bool:
    """Whether torch puts what a module's ``get_extra_state`` returns under this name."""
    return isinstance(name, str) and name.rpartition(".")[2] == "_extra_state"


def _plain_groups(options: Any) -> Any:
    """The options with no tree of omegaconf at the root or right below; nothing is resolved."""
    if OmegaConf.is_config(options):
        return OmegaConf.to_container(options, resolve=False)
    if isinstance(options, dict):
        for name, group in options.items():
            if OmegaConf.is_config(group):
                options[name] = OmegaConf.to_container(group, resolve=False)
    return options


def _check_options(options: Any, path: Any) -> None:
    """Raise Refused if an option calls a function; switch off those that act."""
    if not isinstance(options, (dict, argparse.Namespace)):
        raise Refused(f"is damaged: its options are a {type(options).__name__}")
    for group in _groups(options):
        for name, value in list(group.items()):
            for text in (name, value):
                if isinstance(text, str) and calls_a_function(text):
                    raise Refused(
                        f"its option {name!s:.100} is {value!s:.100}, a call of a function by "
                        "omegaconf: nothing that a checkpoint says is run. Do not use the file "
                        "unless you know why this stands there"
                    )
            if name in ACTING and value:
                logger.warning("%s: its option %s, %r, is not followed", path, name, value)
                group[name] = None


def _groups(options: Any) -> Iterator[dict[Any, Any]]:
    """All dictionaries in a tree of options; a list counts as one, with its indices for names."""
    waiting, seen = [options], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if OmegaConf.is_config(value):
            value = OmegaConf.to_container(value, resolve=False)
        found: list[dict[Any, Any]] = []
        if isinstance(value, dict):
            found.append(value)
        if isinstance(value, (dict, argparse.Namespace)) and hasattr(value, "__dict__"):
            found.append(vars(value))  # an exported checkpoint's OrderedDict has both
        if isinstance(value, (list, tuple, set, frozenset)):
            found.append(dict(enumerate(value)))
        for group in found:
            yield group
            waiting += group.values()


def calls_a_function(text: str) -> bool:
    """Whether omegaconf calls a function to resolve ``text``: ``${oc.env:HOME}``.

    ``${task.data}``, the value of another option, calls none; early checkpoints hold such.
    """
    while text != (text := _REFERENCE.sub("", text)):
        pass  # from the inside out: ${a.${b}}
    return "${" in text
