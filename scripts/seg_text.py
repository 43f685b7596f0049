"""The segments of a WMT or IWSLT test set, one a line: seg_text.py [--straighten] IN.sgm OUT.txt

``--straighten`` turns the typographic apostrophe into ``'``, as the published preprocessings do before
they tokenize a test set. Nothing else is changed; in particular ``&amp;`` stays, as it does in the
references of sacreBLEU.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from moses_corpus import write_lines
from prepare_text import TextError, read_lines

SEGMENT = re.compile(r"<seg id=[^>]*>(.*?)</seg>", re.IGNORECASE)


def segments(path: Path, straighten: bool = False) -> Iterator[str]:
    """The text of each ``<seg id="1">text</seg>``; each stands on a line of its own.

    Raises TextError for a segment that does not, and for a file without any.
    """
    number = 0
    for number_of_line, line in enumerate(read_lines(path), start=1):
        if "<seg" not in line.lower():
            continue
        match = SEGMENT.search(line)
        if match is None:
            raise TextError(f"{path}, line {number_of_line}: no whole segment: {line[:80]!r}")
        number += 1
        text = match[1].strip()
        yield text.replace("\u2019", "'") if straighten else text
    if not number:
        raise TextError(f"{path} has no line with <seg id=...>: is it a test set?")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--straighten", action="store_true")
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    try:
        write_lines(args.output, segments(args.input, args.straighten))
    except (TextError, OSError) as error:
        print(f"seg_text.py: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
