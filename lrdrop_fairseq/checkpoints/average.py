"""The average of the parameters of several checkpoints of one training.

For each floating-point parameter the result is ``(1/n) sum_i theta_i``, summed in float64 and
rounded once to the parameter's own dtype.  Everything else (integer buffers, configuration,
dictionary state, training statistics) comes from the newest checkpoint, the one with the most
updates.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lrdrop_fairseq import vocabulary
from lrdrop_fairseq.checkpoints.files import CheckpointError, load
from lrdrop_fairseq.checkpoints.model import ModelError, describe
from lrdrop_fairseq.checkpoints.running_average import AveragingError, RunningAverage

logger = logging.getLogger(__name__)


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
        try:
            checkpoint = load(path)
        except CheckpointError as error:
            raise AveragingError(str(error)) from error
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
        return describe(options if isinstance(options, dict) else vars(options))
    except ModelError as error:
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


def parts(path: Path) -> list[dict[str, Any]]:
    """Path and number of updates of the checkpoints that ``path`` is the average of.

    A checkpoint that is no average is its own only part.
    """
    checkpoint = load(path)
    own = [{"path": str(path), "num_updates": _updates(checkpoint)}]
    averaged: list[dict[str, Any]] = checkpoint.get("averaged_from", own)
    return averaged


def _updates(checkpoint: dict[str, Any]) -> int:
    return int(checkpoint["optimizer_history"][-1]["num_updates"])
