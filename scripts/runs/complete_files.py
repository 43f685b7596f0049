"""Text files that appear under their names only when they are complete."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO


@contextlib.contextmanager
def complete(path: Path) -> Iterator[TextIO]:
    """A file to write that gets its name `path` at the end, and only if nothing was raised."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with aside.open("w", encoding="utf-8", newline="\n") as output:
            yield output
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    os.replace(aside, path)


def write(path: Path, text: str) -> None:
    """Write a file whole."""
    with complete(path) as output:
        output.write(text)


def write_together(folder: Path, texts: Mapping[str, str]) -> None:
    """Write files by their names, each whole; processes that do so at once take turns.

    So the files are of one process, and the last one is the last to be there. (On shared disks
    without locks between machines they may be of two, if those end at the same moment.)
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # such a disk
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        for name, text in texts.items():
            write(folder / name, text)
    finally:
        os.close(descriptor)


def say(text: str) -> None:
    """Print a result that is written already; a reader who has seen enough is no error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
