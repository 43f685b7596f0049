"""Reads what fairseq wrote with ``--log-format json`` into curves and costs."""

from __future__ import annotations

import json
import re
import statistics
from dataclasses import dataclass
from pathlib import Path

RECORD = re.compile(r"\| INFO \| (train_inner|train|valid) \| (\{.*\})\s*$")
PARAMETERS = re.compile(r"\| INFO \| .*num\. (?:shared )?model params: ([\d,]+)")
TERMS = ("hidden_loss", "attention_loss", "output_loss")


class LogError(ValueError):
    """A training log that lacks something; the message names the file and what is missing."""


@dataclass(frozen=True)
class TrainingLog:
    """One training: its curves by number of updates, and what it cost.

    ``validation``: nll_loss in bits per token. ``terms``: the LR-Drop terms per token, unweighted;
    empty for a plain training. ``seconds_per_update`` is the median over the logged intervals,
    ``seconds`` the whole training with validation and checkpoints.
    """

    validation: dict[int, float]
    terms: dict[str, dict[int, float]]
    parameters: int
    updates: int
    seconds_per_update: float
    seconds: float


def number(record: dict[str, str], key: str, where: str) -> float:
    """``record[key]`` as a number; LogError if it is missing or none."""
    try:
        return float(record[key])
    except KeyError:
        raise LogError(f"{where}: no {key} in this record; it has {', '.join(record)}") from None
    except ValueError:
        raise LogError(f"{where}: {key} is {record[key]!r}, which is no number") from None


def read_log(path: Path) -> TrainingLog:
    """The training in ``path``. Of updates logged twice, after a resume, the later record counts.

    Raises:
        LogError: a record or a value is missing, or the log has none at all.
    """
    validation: dict[int, float] = {}
    rates: dict[int, float] = {}
    terms: dict[str, dict[int, float]] = {}
    seconds, parameters = None, None
    for line_number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{path}:{line_number}"
        counted = PARAMETERS.search(line)
        if counted:
            parameters = parameters or int(counted.group(1).replace(",", ""))
        found = RECORD.search(line)
        if not found:
            continue
        kind, record = found.group(1), json.loads(found.group(2))
        prefix = "" if kind == "train_inner" else f"{kind}_"
        update = int(number(record, f"{prefix}num_updates", where))
        if kind == "valid":
            validation[update] = number(record, "valid_nll_loss", where)
        elif kind == "train":
            seconds = number(record, "train_wall", where)
        else:
            rates[update] = number(record, "ups", where)
            for term in TERMS:
                if term in record:
                    terms.setdefault(term, {})[update] = number(record, term, where)
    missing = [
        name
        for name, value in (
            ("validation records", validation), ("update records", rates),
            ("the number of parameters", parameters), ("the record of a finished epoch", seconds),
        )
        if not value
    ]  # fmt: skip
    if missing or seconds is None or parameters is None:
        raise LogError(
            f"{path}: {', '.join(missing)} missing: was the training run with --log-format json, "
            "and did it end? Delete its folder and run the demo again"
        )
    if terms and set(terms) != set(TERMS):
        raise LogError(f"{path}: of the LR-Drop terms only {', '.join(terms)} are logged")
    return TrainingLog(
        validation=validation,
        terms=terms,
        parameters=parameters,
        updates=max(max(rates), max(validation)),
        seconds_per_update=1 / statistics.median(rates.values()),
        seconds=seconds,
    )
