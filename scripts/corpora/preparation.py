"""Reading prepare.json, in which prepare.sh says what a data directory holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.corpora.prepare_text import TextError
from scripts.runs.json_objects import DamagedError, read_object


def read(data: Path, *needed: str) -> dict[str, Any]:
    """What prepare.json of a data directory says, the keys ``needed`` at least.

    Raises:
        TextError: there is none, it is damaged, or it is of another kind of data.
    """
    path = data / "prepare.json"
    if not path.is_file():
        raise TextError(f"{path} does not exist: make the data directory with prepare.sh")
    try:
        prepared = read_object(path)
    except DamagedError as error:
        what = f"{path.name} is not of prepare.sh, or damaged: prepare the data again"
        raise TextError(f"{error}; {what}") from error
    if not all(key in prepared for key in needed):
        raise TextError(
            f"{path} is not of prepare.sh, or damaged: it must say {', '.join(sorted(needed))}; "
            "prepare the data again"
        )
    return prepared
