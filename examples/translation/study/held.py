"""Runs a command that holds a lock file, with all that it starts, until they end.

    python held.py LOCK COMMAND [ARGUMENT ...]

If the lock is held, what holds it was left by a runner that was killed: its process group is ended
first, because two trainings must not write to one folder. The runner has a lock of its own, so it
cannot be another runner's. To be started in a process group of its own (start_new_session).
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time

PATIENCE_SECONDS = 30


def end_group(group: int) -> None:
    """Asks a process group to end, then ends it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return
        for _ in range(PATIENCE_SECONDS * 10):
            time.sleep(0.1)
            try:
                os.killpg(group, 0)
            except ProcessLookupError:
                return


def main(arguments: list[str]) -> int:
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    lock = os.open(arguments[0], os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 32).decode()
        print(f"held.py: ending process group {holder}, left by a killed runner", file=sys.stderr)
        if holder.isdigit():
            end_group(int(holder))
        fcntl.flock(lock, fcntl.LOCK_EX)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpgrp()).encode(), 0)
    os.set_inheritable(lock, True)
    os.execvp(arguments[1], arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
