"""The options in a checkpoint, and those of the parent in the place of LR-Drop's.

A class of this plugin, or one that derives from it, has for its *parent* the first class in its
method resolution order that is registered in fairseq and has nothing of the plugin in it:
``transformer`` for ``lr_drop_transformer``, and for an architecture of your own what you put
``ExposesLayerStates`` in front of.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from fairseq import models
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.tasks import TASK_REGISTRY
from omegaconf import OmegaConf

_PACKAGE = __name__.partition(".")[0]

# Groups that are of other tools than fairseq-train, whose names may collide with its flags.
_OTHER_TOOLS = ("common_eval", "generation", "eval_lm", "interactive", "job_logging_cfg")
_REGISTRIES = ("task", "criterion", "optimizer", "lr_scheduler", "scoring", "bpe", "tokenizer")


class ExportError(Exception):
    """The checkpoint cannot be exported; the message says why and what to do."""


def flat_options(checkpoint: Any) -> dict[str, Any]:
    """All options of the training under the names of their flags, whichever way they are kept.

    fairseq <= 0.10 keeps a namespace of them, newer ones a tree with one branch per group; there
    the branch of an architecture that was chosen on the command line is such a namespace again.

    Raises:
        ExportError: this is no checkpoint of fairseq, or one without options.
    """
    needed = {"model": dict, "optimizer_history": list, "extra_state": dict}
    if not isinstance(checkpoint, dict) or not all(
        isinstance(checkpoint.get(name), kind) for name, kind in needed.items()
    ):
        raise ExportError("this is no checkpoint of fairseq-train")
    if checkpoint.get("args") is not None:
        return _fields(checkpoint["args"])
    cfg = checkpoint.get("cfg")
    if OmegaConf.is_config(cfg):
        cfg = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    if not isinstance(cfg, dict) or "model" not in cfg:
        raise ExportError("this checkpoint does not say what was trained: it has no options")
    groups = {name: _fields(group) for name, group in cfg.items() if name not in _OTHER_TOOLS}
    options: dict[str, Any] = {}
    # Task and model last: of an option that several groups have, theirs is what was trained.
    for name in sorted(groups, key=lambda name: (name == "model", name == "task")):
        options.update({k: v for k, v in groups[name].items() if not k.startswith("_")})
    for name in _REGISTRIES:
        options[name] = groups.get(name, {}).get("_name")
    options["arch"] = groups["model"].get("_name")
    return options


def _fields(group: Any) -> dict[str, Any]:
    """The options of one group; there are none where it is empty or switched off."""
    if isinstance(group, argparse.Namespace):
        group = vars(group)
    return dict(group) if isinstance(group, dict) else {}


def replace_architecture(options: dict[str, Any]) -> bool:
    """Put the parent's architecture in the place of an LR-Drop one; False where it is none.

    Raises:
        ExportError: the architecture is unknown, or its options are not flags.
    """
    name = options.get("arch")
    if name not in models.ARCH_MODEL_REGISTRY:
        raise ExportError(
            f"architecture {name!r} is unknown: pass the --user-dir that it was trained with"
        )
    cls = models.ARCH_MODEL_REGISTRY[name]
    if not _is_ours(cls):
        return False
    parent = _parent(cls, models.MODEL_REGISTRY)
    if _is_tree(models.MODEL_DATACLASS_REGISTRY.get(parent)):
        raise ExportError(
            f"{parent}, the parent of {name}, keeps its options in a dataclass of "
            "dataclasses: only architectures with flags of the command line can be exported"
        )
    # Every size that the architecture stands for becomes explicit: the parent's need not have it.
    arguments = argparse.Namespace(**options)
    models.ARCH_CONFIG_REGISTRY[name](arguments)
    options.update(vars(arguments))
    # The one of the same sizes, if the parent has it; any other does with explicit sizes.
    names = [parent, *models.ARCH_MODEL_INV_REGISTRY[parent]]
    configure = models.ARCH_CONFIG_REGISTRY
    original = inspect.unwrap(configure[name])
    same = [n for n in names if configure.get(n) is original]
    options["arch"] = next(n for n in [*same, *names] if n in configure)
    return True


def _is_tree(config: Any) -> bool:
    """Whether the options of a model, if they are a dataclass, are in dataclasses of their own."""
    return config is not None and any(is_dataclass(field.type) for field in fields(config))


def replace_criterion(options: dict[str, Any]) -> bool:
    """The same for the criterion; the flags that LR-Drop added are dropped."""
    name = options.get("criterion")
    if name not in CRITERION_REGISTRY:
        raise ExportError(
            f"criterion {name!r} is unknown: pass the --user-dir that it was trained with"
        )
    if not _is_ours(CRITERION_REGISTRY[name]):
        return False
    options["criterion"] = _parent_criterion(CRITERION_REGISTRY[name], options)
    for key in [key for key in options if key.startswith("lr_drop_")]:
        del options[key]
    return True


def replace_task(options: dict[str, Any]) -> bool:
    """The same for the task, whose own options go too; an unknown one is left as it is."""
    name = options.get("task")
    if name is None or name not in TASK_REGISTRY or not _is_ours(TASK_REGISTRY[name]):
        return False
    options["task"] = _parent(TASK_REGISTRY[name], TASK_REGISTRY)
    options.pop("batch_by_length", None)
    return True


def _is_ours(cls: type) -> bool:
    """Whether a class is of this plugin, or derives from one that is."""
    return any(base.__module__.partition(".")[0] == _PACKAGE for base in cls.__mro__)


def _parent(cls: type, registry: Mapping[str, type]) -> str:
    """The name of the first registered base of ``cls`` that has nothing of this plugin in it."""
    names = {registered: name for name, registered in registry.items()}
    for base in cls.__mro__:
        if base in names and not _is_ours(base):
            return names[base]
    raise ExportError(f"{cls.__name__} derives from no class that is registered in fairseq")


def _parent_criterion(cls: type, options: Mapping[str, Any]) -> str:
    """The name of the parent, which in fairseq is another one for an adaptive softmax."""
    name = _parent(cls, CRITERION_REGISTRY)
    adaptive = name == "cross_entropy" and options.get("adaptive_softmax_cutoff") is not None
    return "adaptive_loss" if adaptive else name


def parent_criterions(options: Mapping[str, Any]) -> dict[str, str]:
    """The class name of every registered LR-Drop criterion, and that of its parent.

    Args:
        options: of the training, as of :func:`flat_options`.
    """
    return {
        cls.__name__: CRITERION_REGISTRY[_parent_criterion(cls, options)].__name__
        for cls in CRITERION_REGISTRY.values()
        if _is_ours(cls)
    }
