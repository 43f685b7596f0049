"""What the runner tells while it works."""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path

UPDATES = re.compile(rb'"num_updates": "(\d+)"')
# Enough of the end of a log to hold its last record.
TAIL_BYTES = 20_000


def say(text: str) -> None:
    """A line of progress on standard error."""
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def updates_done(log: Path) -> int:
    """Updates that a training has logged so far."""
    if not log.is_file():
        return 0
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        found = UPDATES.findall(file.read())
    return int(found[-1]) if found else 0
