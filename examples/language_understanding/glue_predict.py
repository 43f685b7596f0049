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
from glue_run import BEST, check_prepared, load_plugin, read_record, write
from glue_tasks import GlueError, Task, read_task

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
        raise GlueError(str(error)) from error
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        raise GlueError(f"{other}its vocabulary has another size") from error
    config, labels = fairseq_task.cfg, fairseq_task.label_dictionary
    # The dictionary ends in <mask>, which fairseq adds to every one.
    if not config.regression_target and len(labels) - labels.nspecial - 1 != config.num_classes:
        raise GlueError(f"{other}it tells {config.num_classes} labels apart")
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
        with torch.no_grad():
            logits, _ = model(**inputs, features_only=True, classification_head_name=HEAD)
        found.predicted += _answers(task, fairseq_task, logits)
        if "target" in sample:
            found.labels = found.labels or []
            found.labels += names(task, fairseq_task, sample["target"].flatten())
    return found


def _answers(task: Task, fairseq_task: Any, logits: torch.Tensor) -> list[str]:
    values = logits.float().cpu()
    return names(task, fairseq_task, values[:, 0] if task.regression else values.argmax(dim=1))


def names(task: Task, fairseq_task: Any, values: torch.Tensor) -> list[str]:
    """Classes as their labels; numbers as in the files, which STS-B's are not in training."""
    if task.regression:
        # STS-B's scores are 0 to 5; of own numbers the size is not known.
        form = ".7g" if task.own_text else ".6f"
        return [format(task.scale * value, form) for value in values.tolist()]
    dictionary = fairseq_task.label_dictionary
    return [dictionary[index + dictionary.nspecial] for index in values.tolist()]


def _columns(found: Predictions, lines: Path) -> dict[str, list[str]]:
    """The table of predictions: example, prediction, label, line of the user's own file."""
    columns = {"index": [str(i) for i in range(len(found.predicted))]}
    columns["prediction"] = found.predicted
    if found.labels:
        columns["label"] = found.labels
    if lines.is_file():
        columns["line"] = lines.read_text(encoding="utf-8").split()
    return columns


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
        raise GlueError(f"{prepared} has no subset '{subset}': see its prepare.json")
    found = predict(folder / BEST, prepared, task, subset)
    columns = _columns(found, prepared / "lines" / f"{subset}.txt")
    rows = "".join("\t".join(row) + "\n" for row in zip(*columns.values(), strict=True))
    write(table, "\t".join(columns) + f"\n{rows}")
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
