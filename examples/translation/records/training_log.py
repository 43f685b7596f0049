"""Reads what fairseq wrote with ``--log-format json`` into curves and costs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from examples.translation.records.training_clock import BUILT, Clock

RECORD = re.compile(r"\| INFO \| (train_inner|train|valid) \| (\{.*\})\s*$")
GPU_MEMORY = re.compile(r"\| INFO \| .* total memory = ([\d.]+) GB")
TERMS = ("hidden_loss", "attention_loss", "output_loss")


class LogError(ValueError):
    """A training log that lacks something; the message names the file and what is missing."""


@dataclass(frozen=True)
class TrainingLog:
    """One training: its curves by number of updates, and what it cost.

    ``validation``: nll_loss in bits per token, or the loss that was asked for. ``terms``: the
    LR-Drop terms per token, unweighted; empty for a plain training. ``seconds``: of the whole
    training with validation and checkpoints; ``clock``: by number of updates. ``gpu_peak_mib``: the
    most memory that torch had in use on a GPU, about, or 0.
    """

    validation: dict[int, float]
    terms: dict[str, dict[int, float]]
    parameters: int
    updates: int
    seconds: float
    clock: dict[int, float]
    gpu_peak_mib: float

    def seconds_at(self, update: int) -> float:
        """Seconds of training up to an update, between the records of the log interpolated."""
        updates = sorted(self.clock)
        return float(np.interp(update, updates, [self.clock[known] for known in updates]))


def number(record: dict[str, str], key: str, where: str) -> float:
    """``record[key]`` as a number; LogError if it is missing or none."""
    try:
        return float(record[key])
    except KeyError:
        raise LogError(f"{where}: no {key} in this record; it has {', '.join(record)}") from None
    except ValueError:
        raise LogError(f"{where}: {key} is {record[key]!r}, which is no number") from None


def _forget_after(curve: dict[int, float], update: int) -> None:
    for later in [known for known in curve if known > update]:
        del curve[later]


def read_log(path: Path, finished: bool = True, loss: str = "nll_loss") -> TrainingLog:
    """The training in ``path``. What a killed process did after its last checkpoint is not in it.

    Args:
        finished: whether the training must have come to its end.
        loss: the key of the validation loss.

    Raises:
        LogError: a record or a value is missing, or the log has none at all.
    """
    validation: dict[int, float] = {}
    last = 0
    terms: dict[str, dict[int, float]] = {}
    clock, ended, parameters, gpu_gib, free_gib = Clock(), None, None, 0.0, []
    for line_number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{path}:{line_number}"
        clock.read(line)
        if clock.resumed_at is not None:
            last = min(last, clock.resumed_at)
            for curve in (validation, *terms.values()):
                _forget_after(curve, clock.resumed_at)
        if counted := BUILT.search(line):
            parameters = parameters or int(counted.group(1).replace(",", ""))
        if memory := GPU_MEMORY.search(line):
            gpu_gib = float(memory.group(1))
        found = RECORD.search(line)
        if not found:
            continue
        kind, record = found.group(1), json.loads(found.group(2))
        prefix = "" if kind == "train_inner" else f"{kind}_"
        update = int(number(record, f"{prefix}num_updates", where))
        if kind == "valid":
            validation[update] = number(record, f"valid_{loss}", where)
        elif kind == "train":
            ended = clock.seconds
        else:
            last = update
            if "gb_free" in record:
                free_gib.append(number(record, "gb_free", where))
            for term in TERMS:
                if term in record:
                    terms.setdefault(term, {})[update] = number(record, term, where)
        clock.mark(update)
    seconds = ended if finished else clock.seconds
    missing = [
        name
        for name, value in (
            ("validation records", validation), ("update records", last or None),
            ("the number of parameters", parameters), ("the record of a finished epoch", seconds),
        )
        if value is None or value == {}
    ]  # fmt: skip
    if missing or seconds is None or parameters is None:
        raise LogError(
            f"{path}: {', '.join(missing)} missing: was the training run with --log-format json, "
            "and did it end? Delete its folder and run it again"
        )
    return TrainingLog(
        validation=validation,
        terms=terms,
        parameters=parameters,
        updates=max(last, max(validation)),
        seconds=seconds,
        clock=clock.by_update,
        gpu_peak_mib=(gpu_gib - min(free_gib)) * 1024 if free_gib else 0.0,
    )
