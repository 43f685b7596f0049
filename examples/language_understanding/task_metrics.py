"""The metrics of the GLUE tasks, by scikit-learn and SciPy, in percent."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from scipy.stats import ConstantInputWarning, pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from examples.language_understanding.sentence_tasks import Task

# The class that F1 is of, in MRPC and QQP: a paraphrase.
POSITIVE = "1"

Scores = dict[str, float | None]


def scores(task: Task, predicted: Sequence[str], labels: Sequence[str]) -> Scores:
    """Each metric of the task; under the name ``task.metric`` what chooses the checkpoint.

    None where a correlation is undefined: all predictions are equal, or one is not finite.
    """
    if task.metric == "mcc":
        return {"mcc": 100 * float(matthews_corrcoef(labels, predicted))}
    if task.metric == "accuracy":
        return {"accuracy": 100 * float(accuracy_score(labels, predicted))}
    if task.metric == "acc_and_f1":
        accuracy = 100 * float(accuracy_score(labels, predicted))
        f1 = 100 * float(f1_score(labels, predicted, pos_label=POSITIVE, zero_division=0.0))
        return {"acc_and_f1": (accuracy + f1) / 2, "accuracy": accuracy, "f1": f1}
    if task.metric == "pearson_and_spearman":
        return _correlations([float(x) for x in predicted], [float(x) for x in labels])
    raise ValueError(f"{task.name}: there is no metric '{task.metric}'")


def _correlations(predicted: list[float], labels: list[float]) -> Scores:
    if not all(map(math.isfinite, predicted)):
        return {"pearson_and_spearman": None, "pearson": None, "spearman": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        pearson = 100 * float(pearsonr(predicted, labels)[0])
        spearman = 100 * float(spearmanr(predicted, labels)[0])
    both = {
        "pearson_and_spearman": (pearson + spearman) / 2,
        "pearson": pearson,
        "spearman": spearman,
    }
    return {name: None if math.isnan(value) else value for name, value in both.items()}
