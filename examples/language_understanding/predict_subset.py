"""Predictions of a fine-tuned checkpoint on one subset of a task, and their scores."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fairseq
import numpy
import scipy
import sklearn
import torch
from fairseq import checkpoint_utils

from examples.language_understanding.run_record import (
    BEST,
    check_prepared,
    load_plugin,
    read_record,
)
from examples.language_understanding.sentence_tasks import IDS, Task, TaskError, read_task
from examples.language_understanding.task_metrics import scores
from scripts.runs.complete_files import write

BATCH = 32  # sentences at once; changes nothing but the time
HEAD = "sentence_classification_head"
LIBRARIES = (torch, fairseq, sklearn, scipy, numpy)


@dataclass
class Predictions:
    """What a model says of each example of a subset, in the order of the task's file."""

    predicted: list[str]
    labels: list[str] | None  # None: a test set without labels


def load(checkpoint: Path, data: Path) -> tuple[Any, Any, torch.device]:
    """(model, fairseq's task, device) of a fine-tuned checkpoint: in float32, on a GPU if any."""
    load_plugin()
    from lrdrop_fairseq.compat.refusals import Refused

    other = f"{checkpoint} was not fine-tuned with {data}: "
    try:
        models, _, fairseq_task = checkpoint_utils.load_model_ensemble_and_task(
            [str(checkpoint)], arg_overrides={"data": str(data)}
        )
    except Refused as error:
        raise TaskError(str(error)) from error
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        raise TaskError(f"{other}its vocabulary has another size") from error
    config, labels = fairseq_task.cfg, fairseq_task.label_dictionary
    # The dictionary ends in <mask>, which fairseq adds to every one.
    if not config.regression_target and len(labels) - labels.nspecial - 1 != config.num_classes:
        raise TaskError(f"{other}it tells {config.num_classes} labels apart")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return models[0].to(device).eval(), fairseq_task, device


def predict(checkpoint: Path, data: Path, task: Task, subset: str) -> Predictions:
    """Run the model over a subset."""
    model, fairseq_task, device = load(checkpoint, data)
    dataset = fairseq_task.load_dataset(subset)
    found = Predictions([], None)
    for start in range(0, len(dataset), BATCH):
        rows = [dataset[index] for index in range(start, min(start + BATCH, len(dataset)))]
        sample = dataset.collater(rows)
        inputs = {name: value.to(device) for name, value in sample["net_input"].items()}
        found.predicted += _answers(task, fairseq_task, answer(model, **inputs))
        if "target" in sample:
            found.labels = found.labels or []
            found.labels += names(task, fairseq_task, sample["target"].flatten())
    return found


def answer(model: Any, **inputs: Any) -> torch.Tensor:
    """What the model's head gives: batch x classes, in float32 on the CPU.

    TaskError where it is not finite: every such answer would become some label or other.
    """
    with torch.no_grad():
        answers, _ = model(**inputs, features_only=True, classification_head_name=HEAD)
    logits: torch.Tensor = answers.float().cpu()
    if not logits.isfinite().all():
        raise TaskError("the model's answers are not finite numbers: its parameters are damaged")
    return logits


def _answers(task: Task, fairseq_task: Any, values: torch.Tensor) -> list[str]:
    return names(task, fairseq_task, values[:, 0] if task.regression else values.argmax(dim=1))


def names(task: Task, fairseq_task: Any, values: torch.Tensor) -> list[str]:
    """Classes as their labels; numbers as in the files, within the task's limits."""
    if task.regression:
        # Of own numbers the size is not known.
        form = ".7g" if task.own_text else ".6f"
        low, high = task.limits or (-math.inf, math.inf)
        return [format(min(max(low, task.scale * x), high), form) for x in values.tolist()]
    dictionary = fairseq_task.label_dictionary
    return [dictionary[index + dictionary.nspecial] for index in values.tolist()]


def _columns(found: Predictions, data: Path, subset: str, task: Task) -> dict[str, list[str]]:
    """The table of predictions: row, prediction, label, line of the user's own file.

    TaskError where it is not known which rows of the task's file they are of.
    """
    columns = {"index": [str(i) for i in range(len(found.predicted))]}
    columns["prediction"] = found.predicted
    if found.labels:
        columns["label"] = found.labels
    path = data / ("lines" if task.own_text else IDS) / f"{subset}.txt"
    if not path.is_file():
        raise TaskError(f"{path} does not exist: prepare {data} again, with --force")
    names = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    columns["line" if task.own_text else "index"] = names
    if len({len(column) for column in columns.values()}) > 1:
        raise TaskError(f"{path} has not a line for each example: prepare {data} again")
    return columns


def _left_out(data: Path, subset: str) -> str:
    """What to say of lines of the task's file that could not be read, and have no prediction."""
    described = json.loads((data / "prepare.json").read_text(encoding="utf-8"))["subsets"][subset]
    if not (broken := described.get("dropped_lines")):
        return ""
    lines = ", ".join(map(str, broken[:10])) + (", …" if len(broken) > 10 else "")
    return f"; none for {len(broken)} broken lines of {described['file']}: {lines}"


def evaluate_seed(folder: Path, data: Path, subset: str, force: bool) -> str:
    """Write predictions.SUBSET.tsv and scores.SUBSET.json of one seed; returns what to print."""
    record = read_record(folder)
    task = read_task(record["task"], data)
    prepared = data / task.name
    check_prepared(folder, record, prepared)
    table, result = folder / f"predictions.{subset}.tsv", folder / f"scores.{subset}.json"
    # The scores come last; a test set of GLUE has none.
    labelled = task.own_text or not subset.startswith("test")
    if (result if labelled else table).is_file() and not force:
        return f"{folder.name}, {subset}: complete; --force makes it again"
    if not (prepared / "input0" / f"{subset}.idx").is_file():
        raise TaskError(f"{prepared} has no subset '{subset}': see its prepare.json")
    found = predict(folder / BEST, prepared, task, subset)
    columns = _columns(found, prepared, subset, task)
    rows = "".join("\t".join(row) + "\n" for row in zip(*columns.values(), strict=True))
    write(table, "\t".join(columns) + f"\n{rows}")
    if not found.labels:
        said = f"{folder.name}, {subset}: {len(found.predicted):,} predictions (no labels)"
        return said + _left_out(prepared, subset)
    values = scores(task, found.predicted, found.labels)
    described = {
        **{key: record[key] for key in ("task", "method", "arch", "model", "seed", "flags")},
        "subset": subset,
        "examples": len(found.predicted),
        "scores": values,
        "checkpoint": str(folder / BEST),
        "num_updates": record["best_update"],
        "versions": {library.__name__: library.__version__ for library in LIBRARIES},
    }
    write(result, json.dumps(described, indent=2, ensure_ascii=False) + "\n")
    shown = ", ".join(
        f"{name} {'undefined' if value is None else f'{value:.2f}'}"
        for name, value in values.items()
    )
    return f"{folder.name}, {subset}: {shown}"
