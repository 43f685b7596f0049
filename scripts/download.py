"""Gets public archives by their names in archives.json: downloaded, verified, unpacked.

    python scripts/download.py --into DIR [--cache DIR] [--from-dir DIR] [--only MEMBER]... NAME...

or, from a module,

    from scripts.download import fetch, provide
    archive = fetch("gpt2-bpe-vocab")               # the verified file itself, in the cache
    folder = provide("iwslt14-de-en", Path("orig"))  # orig/iwslt14-de-en, unpacked

A download that was cut goes on where it stopped. Where the table has a size or a checksum, it must
agree; where it has none, the archive is read to its end, and its SHA-256 is kept beside it in the
cache and must not change. On a machine without network, --from-dir names a folder that holds the
archives under their own names (or a copied cache).

LRDROP_ARCHIVES names a JSON file whose entries come before those of archives.json: own mirrors.
LRDROP_CACHE names the cache (default: lrdrop_fairseq in $XDG_CACHE_HOME or ~/.cache).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a command may be given anywhere
from scripts.archives.check import CHUNK, ArchiveError, check_format
from scripts.archives.table import Archive, find
from scripts.archives.transfer import download, note
from scripts.archives.unpack import unpack
from scripts.runs.complete_folders import aside, remove


def default_cache() -> Path:
    """Where archives are kept when nobody says where."""
    if cache := os.environ.get("LRDROP_CACHE"):
        return Path(cache)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lrdrop_fairseq"


def fetch(name: str, cache: Path | None = None, from_dir: Path | None = None) -> Path:
    """The verified file of an archive: that in `from_dir`, in the cache, or downloaded into it.

    Raises ArchiveError when it cannot be had, or is not what the table says.
    """
    archive = find(name)
    if from_dir is not None:
        return _from_folder(archive, from_dir)
    path = (cache or default_cache()) / archive.file
    record = path.with_name(f"{path.name}.sha256")
    if path.exists():
        try:
            _verify(archive, path, record)
        except ArchiveError as error:
            raise ArchiveError(f"{error}; delete {path} and run this again") from error
    else:
        download(archive.urls, path, archive.size, lambda part: _verify(archive, part, record))
    if archive.checksum is None and not record.exists():
        digest = _digest(path, "sha256")
        note(f"no checksum of {path.name} is published; its SHA-256 is {digest}, kept in {record}")
        with aside(record) as partial:
            partial.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    return path


def _from_folder(archive: Archive, folder: Path) -> Path:
    base = Path(archive.file).name
    for path in (folder / archive.file, folder / base):
        if path.is_file():
            _verify(archive, path, None)
            return path
    urls = "\n  ".join(archive.urls)
    raise ArchiveError(
        f"{folder} holds no {base}, nor {archive.file} ({archive.name}); it can be had from\n"
        f"  {urls}"
    )


def _verify(archive: Archive, path: Path, record: Path | None) -> None:
    """Raises ArchiveError unless `path` has the published size and checksum of `archive`.

    Without a published checksum, the one kept in the file `record` counts, or else the archive
    must be undamaged.
    """
    size = path.stat().st_size
    if archive.size is not None and size != archive.size:
        raise ArchiveError(
            f"{path} has {size:,} bytes, but {archive.name} has {archive.size:,}: "
            f"it is {'truncated' if size < archive.size else 'altered'}"
        )
    expected, who = archive.checksum, f"that of {archive.name}"
    if expected is None and record is not None and record.exists():
        expected = "sha256", record.read_text(encoding="utf-8").split()[0]
        who = f"the one kept in {record} (to be deleted if a new {archive.name} was published)"
    if expected is None:
        check_format(path, Path(archive.file).name)
    elif (digest := _digest(path, expected[0])) != expected[1]:
        raise ArchiveError(
            f"{path} is altered: its {expected[0]} is {digest}, {who} is {expected[1]}"
        )


def _digest(path: Path, algorithm: str) -> str:
    sums = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            sums.update(chunk)
    return sums.hexdigest()


def provide(
    name: str,
    into: Path,
    cache: Path | None = None,
    from_dir: Path | None = None,
    only: Iterable[str] | None = None,
) -> Path:
    """The unpacked archive, the folder ``into/NAME``; just the members `only`, if given.

    A folder that is there is taken as it is: it was renamed when it was complete. Raises
    ArchiveError, having left nothing in `into`.
    """
    folder = into / name
    if folder.is_dir():
        if missing := [member for member in only or () if not (folder / member).is_file()]:
            raise ArchiveError(f"{folder} is there, but lacks {', '.join(missing)}: remove it")
        note(f"{folder} is there already")
        return folder
    inner = find(name).inner
    path = fetch(name, cache, from_dir)
    note(f"unpacking {path}")
    if inner is None:
        unpack(path, folder, only)
    else:
        outer = into / f"{name}.outer"
        remove(outer)  # a killed run may have left it
        try:
            unpack(path, outer, [inner])
            unpack(outer / inner, folder, only)
        finally:
            remove(outer)
    return folder


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Gets public archives, verified and unpacked.")
    parser.add_argument("--into", type=Path, required=True, help="each NAME becomes a folder here")
    parser.add_argument("--cache", type=Path, help="keep the archives here")
    parser.add_argument("--from-dir", type=Path, help="take the archives from here, no network")
    parser.add_argument("--only", action="append", metavar="MEMBER", help="unpack just this file")
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="an archive of scripts/archives/archives.json"
    )
    args = parser.parse_args(arguments)
    try:
        for name in args.names:
            provide(name, args.into, args.cache, args.from_dir, args.only)
    except (ArchiveError, OSError) as error:
        print(f"download.py: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
