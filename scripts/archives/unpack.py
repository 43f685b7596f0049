"""Unpacks tar, gzip and zip archives from elsewhere: whole and inside their folder, or not at all.

    unpack(archive, folder)                      everything
    unpack(archive, folder, only=["a/b.txt"])    these members alone
    check_format(archive)                        reads an archive to its end, writes nothing

Used by download.py. An archive that is damaged, or that holds a path or a link to outside of its
folder, is refused with an ArchiveError.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
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


def unpack(archive: Path, folder: Path, only: Iterable[str] | None = None) -> None:
    """Unpacks `archive` as the new `folder`; what is no archive by its name is copied there.

    With `only`, just the members of these names. The folder appears when it is complete. Raises
    ArchiveError, having written nothing, when the archive is damaged, lacks a member, or holds one
    that would end up elsewhere.
    """
    if folder.exists():
        raise ArchiveError(f"{folder} exists: remove it, or unpack elsewhere")
    wanted = None if only is None else {_normal(name) for name in only}
    with aside(folder) as partial:
        partial.mkdir(parents=True)
        with _reported(archive):
            _unpacker(archive)(archive, partial, wanted)
        missing = sorted(name for name in wanted or () if not (partial / name).is_file())
        if missing:
            raise ArchiveError(f"{archive} holds no {', '.join(missing)}: is it another archive?")


def check_format(archive: Path, name: str | None = None) -> None:
    """Reads an archive to its end: checksums, names and lengths. Raises ArchiveError.

    `name` is that of the finished file, when it still has another one. Of what is no archive by
    its name, only a web page in its place can be told (and of parquet, its two ends).
    """
    name = name or archive.name
    with _reported(archive):
        if name.endswith(TAR_SUFFIXES):
            with tarfile.open(archive) as tar:
                for member in tar:
                    _check_name(archive, member.name)
                _check_tar_end(tar)
        elif name.endswith(".zip"):
            with zipfile.ZipFile(archive) as zipped:
                for path in zipped.namelist():
                    _check_name(archive, path)
                if broken := zipped.testzip():
                    raise zipfile.BadZipFile(f"the checksum of {broken} is wrong")
        elif name.endswith(".gz"):
            _read_through(archive)
        else:
            _refuse_page(archive)
            if name.endswith(".parquet"):
                _check_parquet(archive)


@contextmanager
def aside(target: Path) -> Iterator[Path]:
    """A path beside `target`, renamed to it at the end, or removed when something goes wrong.

    What earlier, killed processes left beside the same target is removed first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f"{target.name}.partial."
    for path in target.parent.iterdir():
        if path.name.startswith(prefix) and not _alive(path.name[len(prefix) :]):
            remove(path)
    partial = target.with_name(f"{prefix}{os.getpid()}")
    try:
        yield partial
        partial.rename(target)
    finally:
        remove(partial)


def remove(path: Path) -> None:
    """Removes a file or a whole folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _alive(process: str) -> bool:
    if not process.isdecimal():
        return True  # not ours
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


Unpacker = Callable[[Path, Path, "set[str] | None"], None]


def _unpacker(archive: Path) -> Unpacker:
    if archive.name.endswith(TAR_SUFFIXES):
        return _unpack_tar
    if archive.suffix == ".zip":
        return _unpack_zip
    if archive.suffix == ".gz":
        return _unpack_gzip
    return _copy


@contextmanager
def _reported(archive: Path) -> Iterator[None]:
    """Turns what the libraries raise for a damaged archive into an ArchiveError."""
    try:
        yield
    except FileNotFoundError as error:
        raise ArchiveError(f"there is no {error.filename}") from error
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:  # disk full, no permission
            raise ArchiveError(f"cannot unpack {archive}: {error}") from error
        _refuse_page(archive)
        raise ArchiveError(f"{archive} is truncated or altered: {error}") from error


def _refuse_page(archive: Path) -> None:
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


def _normal(name: str) -> str:
    return str(PurePosixPath(name))


def _check_name(archive: Path, name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise ArchiveError(f"{archive} holds the path '{name}', outside of its own folder: refused")


def _check_tar_end(tar: tarfile.TarFile) -> None:
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


def _unpack_tar(archive: Path, folder: Path, wanted: set[str] | None) -> None:
    # Written by hand, because tarfile's own safe way is missing in Python 3.11.2 (Debian 12).
    with tarfile.open(archive) as tar:
        for member in tar:
            _check_name(archive, member.name)
            if wanted is not None and _normal(member.name) not in wanted:
                continue
            if not (member.isfile() or member.isdir()):
                raise ArchiveError(f"{archive} is refused: {member.name} is a link or a device")
            target = folder / member.name
            source = tar.extractfile(member)
            if source is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("wb") as file:
                shutil.copyfileobj(source, file, CHUNK)
        _check_tar_end(tar)


def _unpack_zip(archive: Path, folder: Path, wanted: set[str] | None) -> None:
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            _check_name(archive, member.filename)
            if (member.external_attr >> 16) & 0o170000 == 0o120000:
                raise ArchiveError(f"{archive} is refused: {member.filename} is a link")
        for member in zipped.infolist():
            if wanted is None or _normal(member.filename) in wanted:
                zipped.extract(member, folder)


def _unpack_gzip(archive: Path, folder: Path, wanted: set[str] | None) -> None:
    with gzip.open(archive) as source, (folder / archive.stem).open("wb") as target:
        shutil.copyfileobj(source, target, CHUNK)


def _copy(archive: Path, folder: Path, wanted: set[str] | None) -> None:
    _refuse_page(archive)
    shutil.copyfile(archive, folder / archive.name)
