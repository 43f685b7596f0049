"""Whether an archive from elsewhere is whole, and what is refused in one.

    check_format(archive, name)     reads it to its end, writes nothing

The names of its members may not lead out of the folder that it is unpacked into.
"""

from __future__ import annotations

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

CHUNK = 1 << 20
TAR_SUFFIXES = (".tar", ".tgz", ".tar.gz")
# The last three are what altered names, lengths and flags (of an encrypted zip too) lead to.
DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    OverflowError,
)


class ArchiveError(Exception):
    """An archive cannot be had or used; the message says which, why, and what to do."""


def check_format(archive: Path, name: str) -> None:
    """Reads an archive to its end: checksums, names and lengths. Raises ArchiveError.

    `name` is that of the finished file, as it may still have another one. Of what is no archive by
    its name, only a web page in its place can be told (and of parquet, its two ends).
    """
    with reported(archive):
        if name.endswith(TAR_SUFFIXES):
            with tarfile.open(archive) as tar:
                for member in tar:
                    check_name(archive, member.name)
                check_tar_end(tar)
        elif name.endswith(".zip"):
            with zipfile.ZipFile(archive) as zipped:
                for path in zipped.namelist():
                    check_name(archive, path)
                if broken := zipped.testzip():
                    raise zipfile.BadZipFile(f"the checksum of {broken} is wrong")
        elif name.endswith(".gz"):
            _read_through(archive)
        else:
            refuse_page(archive)
            if name.endswith(".parquet"):
                _check_parquet(archive)


@contextmanager
def reported(archive: Path) -> Iterator[None]:
    """Turns what the libraries raise for a damaged archive into an ArchiveError."""
    try:
        yield
    except FileNotFoundError as error:
        raise ArchiveError(f"there is no {error.filename}") from error
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:  # disk full, no permission
            raise ArchiveError(f"cannot unpack {archive}: {error}") from error
        refuse_page(archive)
        raise ArchiveError(f"{archive} is truncated or altered: {error}") from error


def refuse_page(archive: Path) -> None:
    """ArchiveError for a web page in the place of a file."""
    with archive.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        raise ArchiveError(
            f"{archive} is a web page, not the file: moved, or a limit of the server"
        )


def _check_parquet(archive: Path) -> None:
    with archive.open("rb") as file:
        start = file.read(4)
        file.seek(max(0, archive.stat().st_size - 4))
        if (start, file.read()) != (b"PAR1", b"PAR1"):
            raise EOFError("a parquet file begins and ends with PAR1")


def check_name(archive: Path, name: str) -> None:
    """ArchiveError for the name of a member that leads out of its folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise ArchiveError(f"{archive} holds the path '{name}', outside of its own folder: refused")


def check_tar_end(tar: tarfile.TarFile) -> None:
    """Reads on behind the last member, to the proof that nothing was cut off there."""
    file = tar.fileobj
    assert file is not None
    if isinstance(file, gzip.GzipFile):  # its checksum and length come last
        while file.read(CHUNK):
            pass
        return
    file.seek(tar.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it ends without the mark of its end")


def _read_through(archive: Path) -> None:
    with gzip.open(archive) as file:
        while file.read(CHUNK):
            pass
