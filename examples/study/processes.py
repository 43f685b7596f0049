"""Commands that are held, logged, stopped when the time is up, and ended with the runner."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from examples.study.jobs import Job

HELD = Path(__file__).resolve().parent / "held.py"


class Failed(Exception):
    """A command that failed; what it said is in the job's log."""


class StoppedEarly(Exception):
    """A command that was ended, or not started, because the time is up."""


class Commands:
    """Runs the commands of all jobs, from several threads.

    After :meth:`stop_training` trainings end with :class:`StoppedEarly`; after :meth:`end_all`
    everything does.
    """

    def __init__(self) -> None:
        # One thread each: trainings that share cores without that are several times slower.
        self._environment = {
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "passive",
            **os.environ,
        }
        self._lock = threading.Lock()
        self._running: dict[subprocess.Popen[bytes], bool] = {}
        self._ended = {True: False, False: False}  # by whether it is a training

    def run(self, job: Job, command: Sequence[str | Path], training: bool = False) -> None:
        """Run a command of a job to its end; its output goes to the job's log."""
        job.log.parent.mkdir(parents=True, exist_ok=True)
        lock = job.folder.with_name(f".{job.folder.name}.lock")
        held = [sys.executable, str(HELD), str(lock), *map(str, command)]
        with job.log.open("ab") as log:
            with self._lock:
                if self._ended[training]:
                    raise StoppedEarly(job.name)
                # A group of its own: it can be ended with all that it has started.
                process = subprocess.Popen(
                    held, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env=self._environment, start_new_session=True,
                )  # fmt: skip
                self._running[process] = training
            status = process.wait()
        with self._lock:
            del self._running[process]
        if status:
            if self._ended[training]:
                raise StoppedEarly(job.name)
            raise Failed(f"exit status {status}")

    def stop_training(self) -> None:
        """End all trainings, and let none start."""
        self._end(only_training=True)

    def end_all(self) -> None:
        """End everything, and let nothing start."""
        self._end(only_training=False)

    def _end(self, only_training: bool) -> None:
        with self._lock:
            self._ended = {True: True, False: not only_training}
            for process, training in self._running.items():
                if training or not only_training:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGTERM)


def last_lines(path: Path, count: int = 15) -> str:
    """The end of a log, indented."""
    if not path.is_file():
        return "    (it said nothing)"
    lines = path.read_bytes().decode("utf-8", errors="replace").splitlines()[-count:]
    return "\n".join(f"    {line}" for line in lines)
