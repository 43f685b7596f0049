"""Averages the parameters of several checkpoints of one training run.

The average of the last checkpoints usually translates better than any one of them (Vaswani et
al., 2017, section 6.1).  The result is an ordinary fairseq checkpoint, without optimizer state,
that ``fairseq-generate`` loads::

    python -m lrdrop_fairseq.average_checkpoints --save-dir DIR --last 10 --output FILE
    python -m lrdrop_fairseq.average_checkpoints --inputs A.pt B.pt C.pt --output FILE

For each floating-point parameter the result is ``(1/n) sum_i theta_i``, summed in float64 and
rounded once to the parameter's own dtype.  Everything else (integer buffers, configuration,
dictionary state, training statistics) comes from the newest checkpoint, the one with the most
updates.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lrdrop_fairseq import checkpoint_model, vocabulary
from lrdrop_fairseq.running_average import AveragingError, RunningAverage

logger = logging.getLogger(__name__)

# checkpoint<epoch>.pt is written after an epoch, checkpoint_<epoch>_<updates>.pt within one.
_EPOCH_NAME = re.compile(r"checkpoint(\d+)\.pt")
_UPDATE_NAME = re.compile(r"checkpoint_\d+_(\d+)\.pt")


def last_checkpoints(save_dir: Path, count: int) -> list[Path]:
    """The ``count`` newest checkpoints of a run, oldest first.

    Those are the epoch checkpoints (``checkpoint12.pt``), ordered by epoch; where a run keeps
    none (``--no-epoch-checkpoints``), the update checkpoints (``checkpoint_3_4000.pt``), ordered
    by number of updates.  The two kinds are never mixed.

    Raises AveragingError when there are fewer than ``count``.
    """
    if count < 1:
        raise AveragingError(f"the number of checkpoints must be at least 1, not {count}")
    if not save_dir.is_dir():
        raise AveragingError(f"{save_dir}: no such folder")
    epochs = _numbered(save_dir, _EPOCH_NAME)
    updates = _numbered(save_dir, _UPDATE_NAME)
    found, kind = (epochs, "epoch") if epochs else (updates, "update")
    if len(found) < count:
        names = ", ".join(path.name for path in found) or "none"
        raise AveragingError(
            f"{save_dir}: {count} checkpoints were asked for, but there are {len(found)} {kind} "
            f"checkpoints ({names}): ask for fewer, or train longer (--keep-last-epochs says how "
            "many stay)"
        )
    return found[-count:]


def _numbered(save_dir: Path, name: re.Pattern[str]) -> list[Path]:
    """The files with such a name, ordered by the number in it."""
    matches = [(name.fullmatch(path.name), path) for path in save_dir.iterdir()]
    return [path for _, path in sorted((int(match[1]), path) for match, path in matches if match)]


def average_checkpoints(paths: Sequence[Path]) -> dict[str, Any]:
    """The fairseq checkpoint (a dict) that holds the average of the checkpoints in ``paths``.

    Its entry ``averaged_from`` lists path and number of updates of each, fewest updates first.
    Raises AveragingError when one cannot be read or they do not belong together.
    """
    if not paths:
        raise AveragingError("no checkpoints were given")
    if len({path.resolve() for path in paths}) != len(paths):
        raise AveragingError("a checkpoint was given twice")
    running = RunningAverage()
    averaged: list[dict[str, Any]] = []
    newest: dict[str, Any] = {}
    dictionaries: dict[Path, dict[str, str]] = {}
    models: dict[Path, dict[str, Any]] = {}
    for path in paths:
        checkpoint = _load(path)
        dictionaries[path] = vocabulary.saved(checkpoint.get("extra_state"))
        _check_dictionaries(dictionaries)
        models[path] = _model(path, checkpoint)
        _check_models(models)
        running.add(str(path), checkpoint["model"])
        updates = _updates(checkpoint)
        if all(updates >= part["num_updates"] for part in averaged):
            newest = checkpoint
        averaged.append({"path": str(path), "num_updates": updates})
    result = {key: value for key, value in newest.items() if key != "last_optimizer_state"}
    result["model"] = running.average(newest["model"])
    # The moving average that --store-ema keeps is of the parameters that were just replaced.
    result["extra_state"] = {
        key: value
        for key, value in newest["extra_state"].items()
        if key not in ("ema", "ema_fp32_params")
    }
    result["averaged_from"] = sorted(averaged, key=lambda part: part["num_updates"])
    return result


def _model(path: Path, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What the checkpoint says of its model.  AveragingError where it names none that is known."""
    options = (checkpoint.get("cfg") or {}).get("model") or {}
    try:
        return checkpoint_model.describe(options if isinstance(options, dict) else vars(options))
    except checkpoint_model.ModelError as error:
        raise AveragingError(f"{path}: {error}") from error


def _check_models(found: dict[Path, dict[str, Any]]) -> None:
    """AveragingError where the newest entry is of another model than the first one."""
    (first, expected), *_, (last, model) = [*found.items()] * 2
    for key, value in expected.items():
        if model[key] != value:
            raise AveragingError(
                f"{first} and {last} are not checkpoints of one model: {key} is {value!r} in the "
                f"first and {model[key]!r} in the second"
            )


def _check_dictionaries(found: dict[Path, dict[str, str]]) -> None:
    """Compare the dictionaries of the newest entry with those of the others, in order of reading.

    Raises AveragingError where they differ.
    """
    *before, last = found
    for path in before:
        if names := vocabulary.differing(found[path], found[last]):
            raise AveragingError(
                f"{path} and {last} were trained with different dictionaries "
                f"({' and '.join(names)}): the same row of their embeddings stands for different "
                "words. Average checkpoints of one training"
            )
    if before and bool(found[last]) != bool(found[before[-1]]):
        silent = last if found[before[-1]] else before[-1]
        logger.warning("%s does not say which dictionary it was trained with", silent)


def _load(path: Path) -> dict[str, Any]:
    from fairseq import checkpoint_utils
    from omegaconf import OmegaConf

    from lrdrop_fairseq.compat.refusals import Refused

    if not path.is_file():
        raise AveragingError(f"{path}: no such checkpoint")
    try:
        state: dict[str, Any] = checkpoint_utils.load_checkpoint_to_cpu(str(path))
    except Refused as error:
        raise AveragingError(str(error)) from error
    except Exception as error:  # of options that no version of fairseq has written
        raise AveragingError(f"{path}: cannot be read as a fairseq checkpoint ({error})") from error
    # Loading makes an OmegaConf tree of the configuration; files hold plain containers.
    if OmegaConf.is_config(state.get("cfg")):
        state["cfg"] = OmegaConf.to_container(state["cfg"], resolve=True, enum_to_str=True)
    return state


def parts(path: Path) -> list[dict[str, Any]]:
    """Path and number of updates of the checkpoints that ``path`` is the average of.

    A checkpoint that is no average is its own only part.
    """
    checkpoint = _load(path)
    own = [{"path": str(path), "num_updates": _updates(checkpoint)}]
    averaged: list[dict[str, Any]] = checkpoint.get("averaged_from", own)
    return averaged


def _updates(checkpoint: dict[str, Any]) -> int:
    return int(checkpoint["optimizer_history"][-1]["num_updates"])


def save(checkpoint: dict[str, Any], output: Path) -> None:
    """Write the checkpoint; ``output`` appears only when it is complete.

    Raises:
        OSError: it cannot be written there.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = output.with_name(f"{output.name}.{os.getpid()}.part")
    try:
        with open(aside, "wb") as stream:
            torch.save(checkpoint, stream)
        os.replace(aside, output)
    except RuntimeError as error:  # what torch makes of a disk that is full
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise OSError(f"{output} cannot be written: {cause}") from error
    finally:
        aside.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lrdrop_fairseq.average_checkpoints",
        description="Average the parameters of several fairseq checkpoints of one run.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--inputs", nargs="+", type=Path, metavar="FILE", help="these checkpoints")
    source.add_argument("--save-dir", type=Path, metavar="DIR", help="the newest of this run")
    parser.add_argument("--last", type=int, metavar="N", help="how many, with --save-dir")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--user-dir", metavar="DIR", help="of an architecture of your own")
    options = parser.parse_args(arguments)
    if (options.save_dir is None) != (options.last is None):
        parser.error("--save-dir and --last N go together")
    try:
        if options.user_dir:
            checkpoint_model.import_user_dir(options.user_dir)
        paths = options.inputs or last_checkpoints(options.save_dir, options.last)
        checkpoint = average_checkpoints(paths)
        save(checkpoint, options.output)
    except (AveragingError, checkpoint_model.ModelError, OSError) as error:
        print(f"average_checkpoints: error: {error}", file=sys.stderr)
        return 1
    print(f"averaged {len(paths)} checkpoints into {options.output}:")
    for part in checkpoint["averaged_from"]:
        print(f"  {part['path']} ({part['num_updates']} updates)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
