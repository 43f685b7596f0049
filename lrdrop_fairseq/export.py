"""Turns a checkpoint trained with LR-Drop into an ordinary one of the parent architecture.

Plain fairseq loads the result, without this plugin, and computes the same with it to the last
bit; training goes on from it with the parent criterion::

    python -m lrdrop_fairseq.export CHECKPOINT OUT [--drop-optimizer]

Parameters and optimizer state stay as they are: their names are fairseq's.  Architecture,
criterion and user-dir are replaced by their parents.  The options become one flat list under
``args``, as in the checkpoints of every fairseq before 0.10.  Of all formats that one has the most
readers: any fairseq, and converters such as CTranslate2's.  All values are plain, so that the
file loads where torch (2.6 and newer) reads nothing else.
"""

from __future__ import annotations

import argparse
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrdrop_fairseq.average_checkpoints import save

_PACKAGE = "lrdrop_fairseq"

# The options of other tools than fairseq-train, whose names may collide with those of training.
_OTHER_TOOLS = ("common_eval", "generation", "eval_lm", "interactive")
_REGISTRIES = ("task", "criterion", "optimizer", "lr_scheduler", "scoring", "bpe", "tokenizer")
_LOGGED_TERMS = ("hidden_loss", "attention_loss", "output_loss", "task_loss")


class ExportError(Exception):
    """The checkpoint cannot be exported; the message says why and what to do."""


def export(checkpoint: dict[str, Any], drop_optimizer: bool = False) -> dict[str, Any]:
    """The ordinary fairseq checkpoint that ``checkpoint``, as ``torch.load`` gives it, amounts to.

    Args:
        drop_optimizer: leave out what only a resumed training needs, the state of the optimizer
            and of the moving average.

    Raises:
        ExportError: it is no checkpoint of fairseq, there is nothing of LR-Drop in it, its
            architecture is unknown, or it holds objects that plain fairseq could not load.
    """
    options = flat_options(checkpoint)
    parents = _replace_architecture(options), _replace_criterion(options)
    if not any(parents):
        raise ExportError(
            f"architecture {options['arch']} and criterion {options.get('criterion')} are no "
            "LR-Drop ones: this is an ordinary checkpoint already"
        )
    options["user_dir"] = None
    result = {key: value for key, value in checkpoint.items() if key != "cfg"}
    result["args"] = None  # its place, in front
    result["optimizer_history"] = _replace_criterion_names(checkpoint["optimizer_history"])
    result["extra_state"] = dict(checkpoint["extra_state"])
    if drop_optimizer:
        for owner, names in (
            (result, ("last_optimizer_state",)),
            (result["extra_state"], ("ema", "ema_fp32_params")),
        ):
            for name in names:
                owner.pop(name, None)
    if "metrics" in result["extra_state"]:
        result["extra_state"]["metrics"] = _without_terms(result["extra_state"]["metrics"])
    result = {key: plain(value, key) for key, value in result.items()}
    result["args"] = _readable_as_attributes(plain(options, "args"))
    return result


def flat_options(checkpoint: Any) -> dict[str, Any]:
    """All options of the training under the names of their flags, whichever way they are kept.

    fairseq <= 0.9 keeps a namespace of them, newer ones a tree with one branch per group; there
    the branch of an architecture that was chosen on the command line is such a namespace again.
    """
    from omegaconf import OmegaConf

    needed = ("model", "optimizer_history", "extra_state")
    if not isinstance(checkpoint, dict) or any(name not in checkpoint for name in needed):
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
    # Task and model last: they know best what was trained (positions, languages).
    for name in sorted(groups, key=lambda name: (name == "model", name == "task")):
        for key, value in groups[name].items():
            if not key.startswith("_") and (value is not None or key not in options):
                options[key] = value
    for name in _REGISTRIES:
        options[name] = groups.get(name, {}).get("_name")
    options["arch"] = groups["model"].get("_name")
    return options


def _fields(group: Any) -> dict[str, Any]:
    """The options of one group; there are none where it is empty or switched off."""
    if isinstance(group, argparse.Namespace):
        group = vars(group)
    return dict(group) if isinstance(group, dict) else {}


def _replace_architecture(options: dict[str, Any]) -> bool:
    """Put the parent's architecture in the place of an LR-Drop one; False where it is none."""
    from fairseq import models

    name = options.get("arch")
    if name not in models.ARCH_MODEL_REGISTRY:
        raise ExportError(
            f"architecture {name!r} is unknown: pass the --user-dir that it was trained with"
        )
    cls = models.ARCH_MODEL_REGISTRY[name]
    if not _is_ours(cls):
        return False
    parent = _parent(cls, models.MODEL_REGISTRY)
    if parent in models.MODEL_DATACLASS_REGISTRY:
        raise ExportError(
            f"{parent}, the parent of {name}, keeps its options in a dataclass: only architectures "
            "with flags of the command line can be exported"
        )
    # Every size that the architecture stands for becomes explicit: the parent's need not have it.
    arguments = argparse.Namespace(**options)
    models.ARCH_CONFIG_REGISTRY[name](arguments)
    options.update(vars(arguments))
    # The one of the same sizes, if the parent has it; any other does with explicit sizes.
    names = [parent, *models.ARCH_MODEL_INV_REGISTRY[parent]]
    configure = models.ARCH_CONFIG_REGISTRY
    same = [n for n in names if configure.get(n) is configure[name]]
    options["arch"] = next(n for n in [*same, *names] if n in configure)
    return True


def _replace_criterion(options: dict[str, Any]) -> bool:
    """The same for the criterion, and drop the flags that LR-Drop added."""
    from fairseq.criterions import CRITERION_REGISTRY

    name = options.get("criterion")
    if name not in CRITERION_REGISTRY:
        raise ExportError(
            f"criterion {name!r} is unknown: pass the --user-dir that it was trained with"
        )
    if not _is_ours(CRITERION_REGISTRY[name]):
        return False
    options["criterion"] = _parent(CRITERION_REGISTRY[name], CRITERION_REGISTRY)
    for key in [key for key in options if key.startswith("lr_drop_")]:
        del options[key]
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


def _replace_criterion_names(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The history of the training with the class names that fairseq asks for when it resumes."""
    from fairseq.criterions import CRITERION_REGISTRY

    parents = {
        cls.__name__: CRITERION_REGISTRY[_parent(cls, CRITERION_REGISTRY)].__name__
        for cls in CRITERION_REGISTRY.values()
        if _is_ours(cls)
    }
    return [
        {**entry, "criterion_name": parents.get(entry["criterion_name"], entry["criterion_name"])}
        for entry in history
    ]


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


def _readable_as_attributes(options: dict[str, Any]) -> OrderedDict[str, Any]:
    """What reads like an ``argparse.Namespace`` and is on torch's list of safe classes."""
    result = OrderedDict(options)
    vars(result).update(options)
    return result


def load(path: Path) -> Any:
    """What is in the file; raises ExportError where it cannot be read."""
    if not path.is_file():
        raise ExportError(f"{path}: no such checkpoint")
    try:
        return torch.load(path, map_location="cpu")
    except Exception as error:  # a damaged file makes torch raise any of a dozen kinds
        raise ExportError(f"{path}: cannot be read as a checkpoint ({error})") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lrdrop_fairseq.export",
        description="Make an ordinary fairseq checkpoint of one that was trained with LR-Drop.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--drop-optimizer", action="store_true",
                        help="leave out the optimizer state, with Adam two thirds")  # fmt: skip
    parser.add_argument("--user-dir", metavar="DIR",
                        help="of an architecture of your own, as for fairseq-train")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace OUT")
    options = parser.parse_args(arguments)
    try:
        if options.out.exists() and not options.force:
            raise ExportError(
                f"{options.out} exists; choose another OUT, or replace it with --force"
            )
        if options.out.exists() and options.out.samefile(options.checkpoint):
            raise ExportError(f"{options.out} is the checkpoint itself")
        _register(options.user_dir)
        checkpoint = load(options.checkpoint)
        try:
            exported = export(checkpoint, options.drop_optimizer)
        except ExportError as error:
            raise ExportError(f"{options.checkpoint}: {error}") from error
        save(exported, options.out)
    except (ExportError, OSError) as error:
        print(f"export: error: {error}", file=sys.stderr)
        return 1
    arch, criterion = exported["args"]["arch"], exported["args"]["criterion"]
    print(f"exported {options.checkpoint} to {options.out}: {arch}, {criterion}")
    return 0


def _register(user_dir: str | None) -> None:
    """Register the plugin's architectures and criterions, and those in ``user_dir``."""
    from fairseq.utils import import_user_module

    try:
        import_user_module(argparse.Namespace(user_dir=user_dir))
    except (ImportError, FileNotFoundError) as error:
        raise ExportError(f"--user-dir {user_dir}: cannot be imported ({error})") from error


if __name__ == "__main__":
    sys.exit(main())
