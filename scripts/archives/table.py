"""The table of public archives, archives.json: names, addresses, sizes and checksums.

Used by download.py. The facts in the table are published ones, and ``source`` says where; null
means that none was found.
"""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from scripts.archives.check import ArchiveError

TABLE = Path(__file__).resolve().parent / "archives.json"


@dataclass(frozen=True)
class Archive:
    """One entry of the table."""

    name: str
    file: str  # where it lies in the cache; the last part is the file's own name
    urls: tuple[str, ...]  # tried in this order
    size: int | None = None  # bytes; None, like the checksums: none found published
    sha256: str | None = None
    md5: str | None = None
    inner: str | None = None  # the archive meant is this member of the file
    pairs: dict[str, int] | None = None  # published sizes of the subsets that are made of it
    source: str = ""  # who says so

    @property
    def checksum(self) -> tuple[str, str] | None:
        """The algorithm and the published sum."""
        if self.sha256:
            return "sha256", self.sha256
        return ("md5", self.md5) if self.md5 else None


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
