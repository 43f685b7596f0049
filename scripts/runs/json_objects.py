"""Reading the JSON files in which a run, or a preparation, says what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class DamagedError(Exception):
    """A file that does not hold what it should; the message says which, and what is wrong."""


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        DamagedError: the file is not JSON, or holds something else than an object.
        OSError: it cannot be read.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise DamagedError(f"{path}: a JSON object was expected")
    return value
