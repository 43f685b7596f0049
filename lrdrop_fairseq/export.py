"""Turns a checkpoint trained with LR-Drop into an ordinary one of the parent architecture.

Plain fairseq loads the result, without this plugin, and computes the same with it to the last
bit; training goes on from it with the parent criterion::

    python -m lrdrop_fairseq.export CHECKPOINT OUT [--drop-optimizer]

There is one exception, with a warning: a RoBERTa whose layer norms have another epsilon than
fairseq's (``--layer-norm-epsilon``).  A trained sentence model also becomes a folder for Hugging
Face's ``transformers``, with ``--huggingface`` (:mod:`lrdrop_fairseq.export_huggingface`).

Parameters and optimizer state stay as they are: their names are fairseq's.  Architecture and
criterion are replaced by their parents, the user-dir by none.  The options become one flat list
under ``args``, as up to fairseq 0.10: of all formats that one has the most readers, any fairseq
and converters such as CTranslate2's.  All values are plain, so that torch >= 2.6 loads the file
with nothing added to its list of safe classes; it does so with no checkpoint that fairseq writes.
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
from torch import Tensor

from lrdrop_fairseq.average_checkpoints import save
from lrdrop_fairseq.checkpoint_model import ModelError, check_parameters, import_user_dir
from lrdrop_fairseq.compat import checkpoint_contents
from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.export_options import (
    ExportError,
    flat_options,
    parent_criterions,
    replace_architecture,
    replace_criterion,
    replace_task,
)

# What LR-Drop's criterions log and their parents do not.
_LOGGED_TERMS = ("hidden_loss", "attention_loss", "output_loss", "task_loss")

# Of every layer norm in fairseq, which has no option for it.
FAIRSEQ_EPSILON = 1e-5


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
    if drop_optimizer:
        result.pop("last_optimizer_state", None)
        for name in ("ema", "ema_fp32_params"):
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


def load(path: Path) -> Any:
    """What is in the file; raises ExportError where it cannot be read."""
    if not path.is_file():
        raise ExportError(f"{path}: no such checkpoint")
    try:
        return checkpoint_contents.load(path, map_location="cpu")
    except Refused as error:
        raise ExportError(str(error)) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.out is None) == (options.huggingface is None):
        parser.error("give either OUT or --huggingface OUT_FOLDER")
    if options.huggingface is None and (options.encoder or options.data):
        parser.error("--encoder and --data go with --huggingface")
    if options.huggingface and options.encoder is None:
        parser.error("--huggingface needs --encoder FOLDER, the encoder that was fine-tuned: its "
                     "tokenizer goes along")  # fmt: skip
    if options.huggingface and options.drop_optimizer:
        parser.error("--drop-optimizer goes with OUT: --huggingface keeps no optimizer anyway")
    try:
        if options.user_dir:
            import_user_dir(options.user_dir)
        if options.huggingface:
            from lrdrop_fairseq.export_huggingface.command import run

            print(run(options))
        else:
            print(_ordinary(options))
    except ModuleNotFoundError as error:
        print(f"export: error: {error}; pip install 'lrdrop-fairseq[huggingface]' installs what "
              "--huggingface needs", file=sys.stderr)  # fmt: skip
        return 1
    except (ExportError, ModelError, OSError) as error:
        print(f"export: error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lrdrop_fairseq.export",
        description="Make an ordinary fairseq checkpoint of one that was trained with LR-Drop, or "
        "a folder for Hugging Face's transformers of a trained sentence model.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    parser.add_argument("out", type=Path, nargs="?", metavar="OUT")
    parser.add_argument("--drop-optimizer", action="store_true",
                        help="leave out the optimizer state, with Adam two thirds")  # fmt: skip
    parser.add_argument("--user-dir", metavar="DIR",
                        help="of an architecture of your own, as for fairseq-train")  # fmt: skip
    parser.add_argument("--huggingface", type=Path, metavar="OUT_FOLDER",
                        help="write a folder for transformers, in the place of OUT")  # fmt: skip
    parser.add_argument("--encoder", type=Path, metavar="FOLDER",
                        help="with --huggingface: the encoder that was fine-tuned, as "
                        "import_encoder wrote it; its tokenizer is copied")  # fmt: skip
    parser.add_argument("--data", type=Path, metavar="DIR",
                        help="with --huggingface: the data directory of the training, for its "
                        "labels (default: where the training had it)")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace OUT or OUT_FOLDER")
    return parser


def _ordinary(options: argparse.Namespace) -> str:
    """Export an ordinary checkpoint; returns what to print."""
    source, out = options.checkpoint, options.out
    if out.exists() and not options.force:
        raise ExportError(f"{out} exists; choose another OUT, or replace it with --force")
    if out.exists() and out.samefile(source):
        raise ExportError(f"{out} is the checkpoint itself")
    checkpoint = load(source)
    try:
        exported = export(checkpoint, options.drop_optimizer)
    except ExportError as error:
        raise ExportError(f"{source}: {error}") from error
    save(exported, out)
    parent = exported["args"]
    epsilon = parent.get("layer_norm_epsilon")
    if epsilon not in (None, FAIRSEQ_EPSILON):
        print(f"export: warning: {out} is NOT quite the same model: it was trained with "
              f"--layer-norm-epsilon {epsilon}, but plain fairseq computes with "
              f"{FAIRSEQ_EPSILON}; --huggingface keeps it", file=sys.stderr)  # fmt: skip
    return f"exported {source} to {out}: {parent['arch']}, {parent['criterion']}"


if __name__ == "__main__":
    sys.exit(main())
