"""Text files that appear under their names only when they are complete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def complete(path: Path) -> Iterator[TextIO]:
    """A file to write that gets its name `path` at the end, and only if nothing was raised."""
    aside = path.with_name(f"{path.name}.part")
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
