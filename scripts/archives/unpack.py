"""Unpacks tar, gzip and zip archives from elsewhere: whole and inside their folder, or not at all.

    unpack(archive, folder)                      everything
    unpack(archive, folder, only=["a/b.txt"])    these members alone

An archive that is damaged, or that holds a path or a link to outside of its folder, is refused with
an ArchiveError.
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from scripts.archives.check import (
    CHUNK,
    TAR_SUFFIXES,
    ArchiveError,
    check_name,
    check_tar_end,
    refuse_page,
    reported,
)
from scripts.runs.complete_folders import aside


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
        with reported(archive):
            _unpacker(archive)(archive, partial, wanted)
        missing = sorted(name for name in wanted or () if not (partial / name).is_file())
        if missing:
            raise ArchiveError(f"{archive} holds no {', '.join(missing)}: is it another archive?")


Unpacker = Callable[[Path, Path, "set[str] | None"], None]


def _unpacker(archive: Path) -> Unpacker:
    if archive.name.endswith(TAR_SUFFIXES):
        return _unpack_tar
    if archive.suffix == ".zip":
        return _unpack_zip
    if archive.suffix == ".gz":
        return _unpack_gzip
    return _copy


def _unpack_tar(archive: Path, folder: Path, wanted: set[str] | None) -> None:
    # Written by hand, because tarfile's own safe way is missing in Python 3.11.2 (Debian 12).
    with tarfile.open(archive) as tar:
        for member in tar:
            check_name(archive, member.name)
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
        check_tar_end(tar)


def _unpack_zip(archive: Path, folder: Path, wanted: set[str] | None) -> None:
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            check_name(archive, member.filename)
            if (member.external_attr >> 16) & 0o170000 == 0o120000:
                raise ArchiveError(f"{archive} is refused: {member.filename} is a link")
        for member in zipped.infolist():
            if wanted is None or _normal(member.filename) in wanted:
                zipped.extract(member, folder)


def _unpack_gzip(archive: Path, folder: Path, wanted: set[str] | None) -> None:
    with gzip.open(archive) as source, (folder / archive.stem).open("wb") as target:
        shutil.copyfileobj(source, target, CHUNK)


def _copy(archive: Path, folder: Path, wanted: set[str] | None) -> None:
    refuse_page(archive)
    shutil.copyfile(archive, folder / archive.name)


def _normal(name: str) -> str:
    return str(PurePosixPath(name))
