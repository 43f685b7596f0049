"""Runs a command that holds a lock file, with all that it starts, until they end.

    python held.py LOCK COMMAND [ARGUMENT ...]

If the lock is held, what holds it was left by a runner that was killed: its process group is ended
first, because two trainings must not write to one folder. The runner has a lock of its own, so it
cannot be another runner's. To be started in a process group of its own (start_new_session).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time

# Between asking what was left to end, and ending it.
PATIENCE_SECONDS = 30


def take(lock: int) -> bool:
    """Take the lock if it is free."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take_from_group(lock: int, group: int) -> None:
    """End the process group that holds the lock, and take it."""
    print(f"held.py: ending process group {group}, left by a killed runner", file=sys.stderr)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)
        # Not until the group is gone: where nobody reaps orphans, they stay as zombies for ever.
        for _ in range(10 * PATIENCE_SECONDS):
            if take(lock):
                return
            time.sleep(0.1)
    raise SystemExit(f"held.py: process group {group} does not let go of its lock; end it by hand")


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    lock = os.open(arguments[0], os.O_RDWR | os.O_CREAT, 0o644)
    while not take(lock):
        holder = os.pread(lock, 32, 0).decode()
        if holder.isdigit():
            take_from_group(lock, int(holder))
            break
        time.sleep(0.1)  # it has just taken the lock, and will say who it is
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpgrp()).encode(), 0)
    os.set_inheritable(lock, True)
    os.execvp(arguments[1], arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
