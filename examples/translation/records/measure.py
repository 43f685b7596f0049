"""Runs a command and writes down the peak memory of its processes.

    python measure.py RECORD.json COMMAND [ARGUMENT ...]

RECORD.json gets ``peak_memory_mib``: the largest resident set of any one process of the command, in
MiB, as the operating system reports it when the command ends. A record that exists keeps the larger
value, so that a training that was interrupted and resumed counts as one. Exits like the command.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

# What ru_maxrss counts in: KiB on Linux, bytes on macOS.
UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def run(command: list[str]) -> tuple[int, float]:
    """Runs ``command``; returns its exit status and its peak resident memory in MiB."""
    # close_fds: a lock that this process holds is held by the command too.
    child = subprocess.Popen(command, close_fds=False)
    # An interrupt from the keyboard reaches the child by itself; terminate has to be passed on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    # A signal to the whole group may have ended it already.
    def pass_on(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, number)

    signal.signal(signal.SIGTERM, pass_on)
    _, status, usage = os.wait4(child.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    child.returncode = code
    return (128 - code if code < 0 else code), usage.ru_maxrss * UNIT_BYTES / 2**20


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    record = Path(arguments[0])
    code, peak = run(arguments[1:])
    if record.is_file():
        peak = max(peak, float(json.loads(record.read_text(encoding="utf-8"))["peak_memory_mib"]))
    aside = record.with_suffix(".part")
    aside.write_text(json.dumps({"peak_memory_mib": round(peak, 1)}) + "\n", encoding="utf-8")
    aside.replace(record)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
