"""Folders, and files of any kind, that appear under their names only when they are complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def aside(target: Path) -> Iterator[Path]:
    """A path beside `target`, renamed to it at the end, or removed when something goes wrong.

    What earlier, killed processes of this machine left beside the same target is removed first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # Other machines may share the disk: their process numbers say nothing here.
    prefix = f"{target.name}.partial.{os.uname().nodename}."
    for path in target.parent.iterdir():
        if path.name.startswith(prefix) and not _alive(path.name[len(prefix) :]):
            remove(path)
    partial = target.with_name(f"{prefix}{os.getpid()}")
    try:
        yield partial
        partial.rename(target)
    finally:
        remove(partial)


def remove(path: Path) -> None:
    """Removes a file or a whole folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _alive(process: str) -> bool:
    if not process.isdecimal():
        return True  # not ours
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
