"""Gets public archives by their names in archives.json: downloaded, verified, unpacked.

    python scripts/download.py --into DIR [--cache DIR] [--from-dir DIR] NAME...

or, from another script of this folder,

    from download import fetch, provide
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
import difflib
import hashlib
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from transfer import download
from unpack import CHUNK, ArchiveError, aside, check_format, unpack

TABLE = Path(__file__).resolve().parent / "archives.json"


@dataclass(frozen=True)
class Archive:
    """One entry of the table."""

    name: str
    file: str  # where it lies in the cache; the last part is the file's own name
    urls: tuple[str, ...]  # tried in this order
    size: int | None = None  # bytes; None, like the checksums: nobody has published it
    sha256: str | None = None
    md5: str | None = None
    inner: str | None = None  # the archive meant is this member of the file
    source: str = ""  # who says so

    @property
    def checksum(self) -> tuple[str, str] | None:
        """The algorithm and the published sum."""
        if self.sha256:
            return "sha256", self.sha256
        return ("md5", self.md5) if self.md5 else None


def note(message: str) -> None:
    print(f"download.py: {message}", file=sys.stderr, flush=True)


def table() -> dict[str, Archive]:
    """All archives by name, those of $LRDROP_ARCHIVES before our own. Raises ArchiveError."""
    archives = _read_table(TABLE)
    if own := os.environ.get("LRDROP_ARCHIVES"):
        archives |= _read_table(Path(own))
    return archives


def _read_table(path: Path) -> dict[str, Archive]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: Archive(name, **{**entry, "urls": tuple(entry["urls"])})
            for name, entry in entries.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArchiveError(f"{path} is no table of archives: {error!r}") from error


def find(name: str) -> Archive:
    """The entry of that name. Raises ArchiveError with the names that are like it."""
    archives = table()
    if name not in archives:
        similar = difflib.get_close_matches(name, archives, n=5, cutoff=0.4)
        raise ArchiveError(f"no archive is called '{name}'; similar: {', '.join(similar) or '-'}")
    return archives[name]


def default_cache() -> Path:
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
        record.unlink(missing_ok=True)
        download(archive.urls, path, archive.size, lambda part: _verify(archive, part, None))
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
    raise ArchiveError(f"{folder} holds no {base} ({archive.name}); it can be had from\n  {urls}")


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
    expected = archive.checksum
    if expected is None and record is not None and record.exists():
        expected = "sha256", record.read_text(encoding="utf-8").split()[0]
    if expected is None:
        check_format(path, Path(archive.file).name)
    elif (digest := _digest(path, expected[0])) != expected[1]:
        raise ArchiveError(
            f"{path} is altered: its {expected[0]} is {digest}, that of {archive.name} is "
            f"{expected[1]}"
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
        note(f"{folder} is there already")
        return folder
    inner = find(name).inner
    path = fetch(name, cache, from_dir)
    note(f"unpacking {path}")
    if inner is None:
        unpack(path, folder, only)
    else:
        with aside(into / f"{name}.outer") as outer:
            unpack(path, outer, [inner])
            unpack(outer / inner, folder, only)
    return folder


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Gets public archives, verified and unpacked.")
    parser.add_argument("--into", type=Path, required=True, help="each NAME becomes a folder here")
    parser.add_argument("--cache", type=Path, help="keep the archives here")
    parser.add_argument("--from-dir", type=Path, help="take the archives from here, no network")
    parser.add_argument("names", nargs="+", metavar="NAME", help="see scripts/archives.json")
    args = parser.parse_args(arguments)
    try:
        for name in args.names:
            provide(name, args.into, args.cache, args.from_dir)
    except ArchiveError as error:
        print(f"download.py: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
