"""Which checkpoints of a run are its last ones."""

from __future__ import annotations

import re
from pathlib import Path

from lrdrop_fairseq.checkpoints.running_average import AveragingError

# checkpoint<epoch>.pt is written after an epoch, checkpoint_<epoch>_<updates>.pt within one.
_EPOCH_NAME = re.compile(r"checkpoint(\d+)\.pt")
_UPDATE_NAME = re.compile(r"checkpoint_\d+_(\d+)\.pt")


def last_checkpoints(save_dir: Path, count: int) -> list[Path]:
    """The ``count`` newest checkpoints of a run, oldest first.

    Those are the epoch checkpoints (``checkpoint12.pt``), ordered by epoch; where a run keeps
    none (``--no-epoch-checkpoints``), the update checkpoints (``checkpoint_3_4000.pt``), ordered
    by number of updates.  The two kinds are never mixed.

    Raises AveragingError when there are fewer than ``count``.
    """
    if count < 1:
        raise AveragingError(f"the number of checkpoints must be at least 1, not {count}")
    if not save_dir.is_dir():
        raise AveragingError(f"{save_dir}: no such folder")
    epochs = _numbered(save_dir, _EPOCH_NAME)
    updates = _numbered(save_dir, _UPDATE_NAME)
    found, kind = (epochs, "epoch") if epochs else (updates, "update")
    if not found:
        raise AveragingError(
            f"{save_dir}: neither epoch checkpoints (checkpoint3.pt) nor update checkpoints "
            "(checkpoint_3_4000.pt): train without --no-epoch-checkpoints, or with "
            "--save-interval-updates"
        )
    if len(found) < count:
        names = ", ".join(path.name for path in found)
        raise AveragingError(
            f"{save_dir}: {count} checkpoints were asked for, but there are {len(found)} {kind} "
            f"checkpoints ({names}): ask for fewer, or train longer (--keep-last-epochs says how "
            "many stay)"
        )
    return found[-count:]


def _numbered(save_dir: Path, name: re.Pattern[str]) -> list[Path]:
    """The files with such a name, ordered by the number in it."""
    matches = [(name.fullmatch(path.name), path) for path in save_dir.iterdir()]
    return [path for _, path in sorted((int(match[1]), path) for match, path in matches if match)]
