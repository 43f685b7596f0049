"""Checks that the texts of WikiText have as many lines as is published of them.

published_lines.py ARCHIVE FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.archives.check import ArchiveError
from scripts.archives.table import find
from scripts.corpora.prepare_text import TextError, read_lines


def main() -> int:
    """The command line; returns the exit status."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    try:
        published = find(name).pairs or {}
        for subset, lines in published.items():
            path = folder / f"wiki.{subset}.tokens"
            found = sum(1 for _ in read_lines(path))
            if found != lines:
                raise TextError(
                    f"{path} has {found:,} lines, and {lines:,} are published: this is another "
                    "text than that of which perplexities are published"
                )
    except (ArchiveError, TextError) as error:
        print(f"prepare_wikitext_103.sh: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
