"""Repairs of ``fairseq-validate``: of several processes, and of what it can read by itself."""

from __future__ import annotations

import functools
from argparse import ArgumentParser
from typing import Any

from fairseq import tasks
from fairseq.tasks.sentence_prediction import SentencePredictionConfig

from lrdrop_fairseq.compat.replace import REPAIRED, replace


def skip_batches_that_are_not_there() -> None:
    """Let several processes validate a set that has fewer batches than there are processes.

    Where the batches cannot be shared out evenly fairseq gives some processes an empty one. The
    trainer and ``fairseq-generate`` skip it; ``fairseq-validate`` does not, and ends in
    ``KeyError: 'net_input'``.  Here the step of an empty batch is no step, and adds nothing to the
    statistics.

    Ends with: a fairseq whose ``fairseq_cli/validate.py`` skips empty batches (none so far).
    """
    original = tasks.setup_task
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def setup_task(cfg: Any, **kwargs: Any) -> Any:
        task = original(cfg, **kwargs)
        # On the task, because classes of tasks have steps of their own.
        step, reduce = task.valid_step, task.reduce_metrics

        def valid_step(sample: Any, *args: Any, **more: Any) -> Any:
            return step(sample, *args, **more) if sample else (0, 0, {})

        def reduce_metrics(logging_outputs: Any, criterion: Any) -> None:
            reduce([output for output in logging_outputs if output], criterion)

        task.valid_step, task.reduce_metrics = valid_step, reduce_metrics
        return task

    replace(tasks, setup_task)


class _OfTheCheckpoint:
    """What stands in the registry for the task that was not given: it takes the data alone."""

    @classmethod
    def add_args(cls, parser: ArgumentParser) -> None:
        parser.add_argument("data", help="colon separated path to data directories list")


def take_the_task_of_the_checkpoint() -> None:
    """Let ``fairseq-validate`` do without ``--task``, and without ``--criterion`` for sentences.

    Both are in the checkpoint, and are taken from there.  But without ``--task`` it ends in
    ``KeyError: None``, and ``--task sentence_prediction`` without its criterion in an
    ``InterpolationKeyError``, because an option of this task refers to one of the criterion.

    Ends with: a fairseq that parses the command line of ``fairseq-validate`` so (none so far).
    """
    # The only command whose --task has no default.
    tasks.TASK_REGISTRY.setdefault(None, _OfTheCheckpoint)
    field = SentencePredictionConfig.__dataclass_fields__.get("classification_head_name")
    if field is not None and field.default == "${criterion.classification_head_name}":
        field.default = (
            "${oc.select:criterion.classification_head_name,sentence_classification_head}"
        )
