"""Scripts that are killed at a certain place, and not after a certain time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Any


def kill_when(said: str, command: Sequence[str], **options: Any) -> None:
    """Runs a command and kills it, with all that it started, once a line of its stderr has `said`.

    Returns when all of them are gone, for until then they hold their locks. ``options`` are those
    of ``subprocess.Popen``.
    """
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **{**options, "text": True},
    )
    assert process.stderr is not None
    with process.stderr as lines:
        assert any(said in line for line in lines), f"the run ended before it said '{said}'"
        os.killpg(process.pid, signal.SIGKILL)
        lines.read()  # ends when no process is left that could write
    assert process.wait() == -signal.SIGKILL


def assert_ended(number: int) -> None:
    """The process of this number is no more, or soon will be."""
    for _ in range(1200):
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.kill(number, signal.SIGKILL)
    raise AssertionError(f"process {number} goes on")
