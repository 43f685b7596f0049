"""What a row of results.tsv has in every kind whose cells are trained with a preset."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from examples.study.merged_tables import Row
from examples.study.presets.evaluations import Evaluation
from examples.study.presets.studies import checkpoint_rule
from examples.translation.records.training_log import TrainingLog


def checkpoint_columns(
    evaluation: Evaluation, log: TrainingLog, parts: Sequence[dict[str, Any]]
) -> Row:
    """Memory, the validation losses that decide, and which checkpoint was scored.

    ``checkpoint seconds`` go up to the update of the scored checkpoint.

    Args:
        parts: what the scored checkpoint is made of, as evaluate.sh says it.
    """
    training = evaluation.training
    reached = max(part["num_updates"] for part in parts)
    best = min(log.validation, key=lambda update: log.validation[update])
    last = max(log.validation)
    return {
        "peak MiB": _peak_mib(training.folder, log),
        "best validation nll": f"{log.validation[best]:.3f}",
        "best at": str(best),
        "last validation nll": f"{log.validation[last]:.3f}",
        "checkpoint": checkpoint_rule(len(parts) if training.study.average else None),
        "checkpoint updates": str(reached),
        "checkpoint seconds": f"{log.seconds_at(reached):.0f}",
    }


def _peak_mib(folder: Path, log: TrainingLog) -> str:
    """Most memory in use: on a GPU as torch counts it, else of the training process.

    Empty if the process was killed before that could be written down.
    """
    if log.gpu_peak_mib:
        return f"{log.gpu_peak_mib:.0f}"
    record = folder / "memory.json"
    if not record.is_file():
        return ""
    return f"{json.loads(record.read_text(encoding='utf-8'))['peak_memory_mib']:.0f}"
