"""Repairs of what the fine-tuning of mBART needs: its task, and the options in its checkpoint."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from fairseq.tasks import TASK_DATACLASS_REGISTRY
from fairseq.tasks.translation_from_pretrained_bart import TranslationFromPretrainedBARTTask
from hydra.core.config_store import ConfigStore

from lrdrop_fairseq.compat.replace import REPAIRED, replace


def give_the_task_its_args() -> None:
    """Let ``--task translation_from_pretrained_bart`` load its data, train and generate.

    The task reads ``self.args``, which its base class has called ``self.cfg`` since it takes a
    config, and the fine-tuning of mBART ends in an AttributeError before the first batch.

    Ends with: a fairseq whose ``TranslationFromPretrainedBARTTask`` has ``args`` (none so far).
    """
    original = TranslationFromPretrainedBARTTask.__init__
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def __init__(self: Any, args: Any, *dictionaries: Any, **options: Any) -> None:
        original(self, args, *dictionaries, **options)
        self.args = args

    replace(TranslationFromPretrainedBARTTask, __init__)


# Tasks that take the names of their subsets from a part of the configuration without any.
_TASKS = ("multilingual_denoising", "multilingual_language_modeling")


def find_the_names_of_subsets() -> None:
    """Let checkpoints of ``multilingual_denoising`` load: the public mBART is one.

    The options of this task, and of ``multilingual_language_modeling``, refer to
    ``common.train_subset`` and ``common.valid_subset``. There are none: they are in ``dataset``.
    So an older checkpoint, whose options fairseq turns into a configuration as it reads them,
    ends in an InterpolationKeyError, and so does ``--task`` with their names.

    Ends with: a fairseq in which they refer to ``dataset`` (none so far; in 0.12.2 the tasks
    have no such options).
    """
    for task in set(_TASKS) & set(TASK_DATACLASS_REGISTRY):
        config = TASK_DATACLASS_REGISTRY[task]
        for field in dataclasses.fields(config):
            if field.default == f"${{common.{field.name}}}" and field.name.endswith("_subset"):
                field.default = f"${{dataset.{field.name}}}"
        # As fairseq registers it.
        ConfigStore.instance().store(name=task, group="task", node=config, provider="fairseq")
