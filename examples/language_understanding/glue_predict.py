"""Predictions of a fine-tuned checkpoint on one subset of a task, and their scores."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fairseq
import numpy
import scipy
import sklearn
import torch
from fairseq import checkpoint_utils
from glue_metrics import scores
from glue_run import BEST, load_plugin, read_record, write
from glue_tasks import GlueError, Task, read_task

BATCH = 32  # sentences at once; changes nothing but the time
HEAD = "sentence_classification_head"
LIBRARIES = (torch, fairseq, sklearn, scipy, numpy)


@dataclass
class Predictions:
    """What a model says of each example of a subset, in the order of the task's file."""

    predicted: list[str]
    labels: list[str] | None  # None: a test set without labels


def predict(checkpoint: Path, data: Path, task: Task, subset: str) -> Predictions:
    """Run the model over a subset, in float32, on a GPU if there is one."""
    models, _, fairseq_task = checkpoint_utils.load_model_ensemble_and_task(
        [str(checkpoint)], arg_overrides={"data": str(data)}
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = models[0].to(device).eval()
    dataset = fairseq_task.load_dataset(subset)
    found = Predictions([], None)
    for start in range(0, len(dataset), BATCH):
        rows = [dataset[index] for index in range(start, min(start + BATCH, len(dataset)))]
        sample = dataset.collater(rows)
        inputs = {name: value.to(device) for name, value in sample["net_input"].items()}
        with torch.no_grad():
            logits, _ = model(**inputs, features_only=True, classification_head_name=HEAD)
        found.predicted += _answers(task, fairseq_task, logits)
        if "target" in sample:
            found.labels = found.labels or []
            found.labels += _names(task, fairseq_task, sample["target"].flatten())
    return found


def _answers(task: Task, fairseq_task: Any, logits: torch.Tensor) -> list[str]:
    values = logits.float().cpu()
    return _names(task, fairseq_task, values[:, 0] if task.regression else values.argmax(dim=1))


def _names(task: Task, fairseq_task: Any, values: torch.Tensor) -> list[str]:
    """Classes as their labels; numbers, which are 0 to 1 in training, as scores of 0 to 5."""
    if task.regression:
        return [f"{5 * value:.6f}" for value in values.tolist()]
    dictionary = fairseq_task.label_dictionary
    return [dictionary[index + dictionary.nspecial] for index in values.tolist()]


def evaluate_seed(folder: Path, data: Path, subset: str, force: bool) -> str:
    """Write predictions.SUBSET.tsv and scores.SUBSET.json of one seed; returns what to print."""
    record = read_record(folder)
    task = read_task(record["task"])
    table, result = folder / f"predictions.{subset}.tsv", folder / f"scores.{subset}.json"
    # The scores come last; a test set has none.
    if (result if not subset.startswith("test") else table).is_file() and not force:
        return f"{folder.name}, {subset}: complete; --force makes it again"
    if not (data / task.name / "input0" / f"{subset}.idx").is_file():
        raise GlueError(f"{data / task.name} has no subset '{subset}': see its prepare.json")
    load_plugin()
    found = predict(folder / BEST, data / task.name, task, subset)
    columns = [found.predicted] + ([found.labels] if found.labels else [])
    rows = "".join("\t".join((str(i), *row)) + "\n" for i, row in enumerate(zip(*columns)))
    header = "index\tprediction" + ("\tlabel" if found.labels else "")
    write(table, f"{header}\n{rows}")
    if not found.labels:
        return f"{folder.name}, {subset}: {len(found.predicted):,} predictions (no labels)"
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
