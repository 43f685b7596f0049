"""One training to a folder: a lock of the kernel, which ends with the process that holds it.

Nothing of torch or fairseq is imported here: the scripts load this file by itself, because
importing the package takes seconds.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import socket
from pathlib import Path
from typing import TextIO

logger = logging.getLogger(__name__)

NAME = ".lock"

# A lock of POSIX belongs to the process, not to the file object: data loaders that outlive a killed
# training do not hold it, and an exec keeps it. It is lost once the process closes the file, in
# whichever file object, so these stay open to the end.
_held: dict[Path, TextIO] = {}

# In the environment, of whoever the holder starts: who that is, as it stands in the lock file.
HOLDER = "LRDROP_SAVE_DIR_HOLDER"


class SaveDirInUseError(RuntimeError):
    """Another training runs in the folder: which, and what to do about it."""


def hold(folder: Path) -> None:
    """Let no other process train in ``folder`` until this one, or what it becomes by exec, ends.

    Whoever the holder starts (fairseq's process for the first GPU) may train there too.  Where the
    file system has no locks this warns and holds nothing.

    Raises:
        SaveDirInUseError: another process holds the folder.
        OSError: the folder or its lock file cannot be written.
    """
    path = folder.resolve() / NAME
    if path in _held:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read().strip()
        file.close()
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            logger.warning(
                "%s: no locks on this file system (%s), so nothing keeps a second training out of "
                "the folder",
                folder,
                error.strerror,
            )
        elif holder != os.environ.get(HOLDER):
            raise SaveDirInUseError(
                f"{folder}: another training is running there{holder and f' ({holder})'}: wait "
                "until it has ended, end it, or give another --save-dir (if its machine has "
                f"crashed, delete {path})"
            ) from None
        return
    _held[path] = file
    os.set_inheritable(file.fileno(), True)  # for an exec
    os.environ[HOLDER] = f"process {os.getpid()} on {socket.gethostname()}"
    with contextlib.suppress(OSError):  # a full disk
        file.truncate(0)
        file.write(os.environ[HOLDER])
        file.flush()
