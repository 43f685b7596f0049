"""Downloads one file over HTTP: several mirrors, resumed, verified. Used by download.py."""

from __future__ import annotations

import errno
import fcntl
import http.client
import os
import re
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import BinaryIO

from scripts.archives.check import CHUNK, ArchiveError

TIMEOUT = 60.0  # seconds without a byte
ATTEMPTS = 4  # in a row without a byte of progress, per mirror
PAUSE = 2.0  # seconds before the second attempt; twice as long before each further one
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
BROKEN = (urllib.error.URLError, http.client.HTTPException, OSError)


class MirrorError(Exception):
    """This mirror does not give the file; another one may."""


def note(message: str) -> None:
    """A line of progress on standard error."""
    print(f"download.py: {message}", file=sys.stderr, flush=True)


def download(
    urls: Sequence[str], path: Path, size: int | None, verify: Callable[[Path], None]
) -> None:
    """Downloads the first of `urls` that gives the file, as `path`.

    The bytes go to ``path.part``, which stays when the process ends in between, and is continued by
    the next one. `size` is the published one in bytes, `verify` raises ArchiveError when the
    complete file is not what it should be. Raises ArchiveError when no mirror has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    failures = []
    with _locked(part) as file:
        if path.exists():  # another process was faster
            part.unlink(missing_ok=True)
            return
        for url in urls:
            try:
                _from_mirror(url, part, file, size, verify)
            except (MirrorError, ArchiveError) as error:
                note(f"{url}: {error}")
                failures.append(f"{url}: {error}")
            else:
                part.rename(path)
                return
        if not file.tell():
            part.unlink()
    listed = "\n  ".join(failures)
    raise ArchiveError(
        f"cannot download {path.name}:\n  {listed}\nTry again later (what has arrived is kept), or "
        f"get the file elsewhere and name its folder with --from-dir"
    )


@contextmanager
def _locked(part: Path) -> Iterator[BinaryIO]:
    """The part file, open behind its last byte, for this process alone."""
    while True:
        with part.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                note(f"waiting: another process is downloading {part}")
                fcntl.flock(file, fcntl.LOCK_EX)
            # The other process may have renamed or removed the file while this one waited.
            if part.exists() and os.path.samestat(os.fstat(file.fileno()), part.stat()):
                yield file
                return
            if part.with_name(part.name.removesuffix(".part")).exists():
                yield file
                return


def _from_mirror(
    url: str, part: Path, file: BinaryIO, size: int | None, verify: Callable[[Path], None]
) -> None:
    """Completes the part file from one address. Raises MirrorError or ArchiveError."""
    while True:
        resumed = file.tell() > 0
        _transfer(url, file, size)
        try:
            verify(part)
            return
        except ArchiveError:
            _empty(file)
            if not resumed:
                raise
        # What lay here may have come from another mirror, or from before the file was changed.
        note(f"what was resumed does not fit together; downloading {url} again from its start")


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _transfer(url: str, file: BinaryIO, size: int | None) -> None:
    """Appends what is missing, in as many attempts as make progress."""
    failed = 0
    while True:
        before = file.tell()
        try:
            if _request(url, file, size):
                return
            reason = "the connection was cut"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise MirrorError(f"HTTP {error.code} {error.reason}") from error
            reason = f"HTTP {error.code} {error.reason}"
        except BROKEN as error:
            if getattr(error, "errno", None) in DISK:
                raise MirrorError(f"cannot write {file.name}: {error}") from error
            cause = getattr(error, "reason", None) or error
            reason = str(cause) or type(error).__name__
            if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:
                raise MirrorError(f"{reason} (is this machine without network?)") from error
        file.flush()
        failed = 0 if file.tell() > before else failed + 1
        if failed >= ATTEMPTS:
            raise MirrorError(reason)
        pause = PAUSE * 2 ** max(failed - 1, 0)
        note(f"{reason}; trying again in {pause:.0f} s")
        time.sleep(pause)


def _request(url: str, file: BinaryIO, size: int | None) -> bool:
    """One request for the rest of the file; False when it ended too early.

    Raises MirrorError when the mirror has a file of another size.
    """
    start = file.tell()
    request = urllib.request.Request(url, headers={"User-Agent": "lrdrop_fairseq"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        if _total(error.headers) == start:  # nothing is missing
            return True
        _empty(file)  # longer than the mirror's file: it was another one
        return False
    with response:
        total = _total(response.headers)
        if size is not None and total is not None and total != size:
            raise MirrorError(f"this mirror's file has {total:,} bytes, not {size:,}")
        continued = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if start and not continued:
            note(f"{url} cannot be continued; downloading it again from its start")
            _empty(file)
        _receive(response, file, total)
    return total is None or file.tell() >= total


def _total(headers: Message) -> int | None:
    """The size of the whole file, where the server tells it."""
    if match := re.fullmatch(r"bytes .*/(\d+)", headers.get("Content-Range", "")):
        return int(match[1])
    length = headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _receive(response: http.client.HTTPResponse, file: BinaryIO, total: int | None) -> None:
    """Appends the response to the file, with progress on a terminal."""
    name = Path(file.name).name.removesuffix(".part")
    of = "" if total is None else f" of {total / 1e6:,.1f}"
    done = f", from {file.tell() / 1e6:,.1f} on" if file.tell() else ""
    note(f"downloading {name} ({of.removeprefix(' of ') or '?'} MB{done})")
    shown = 0.0
    while chunk := response.read1(CHUNK):
        file.write(chunk)
        if sys.stderr.isatty() and time.monotonic() - shown > 0.5:
            shown = time.monotonic()
            print(f"\r{name}: {file.tell() / 1e6:,.1f}{of} MB", end="", file=sys.stderr, flush=True)
    file.flush()
    if shown:
        print(file=sys.stderr)
