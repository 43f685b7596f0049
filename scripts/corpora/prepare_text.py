r"""Checked reading of parallel text: UTF-8, plain or gzipped, one segment a line.

Only ``\n`` ends a line. Other characters that some tools take for a line end (carriage return,
U+2028, U+0085, form feed) are ordinary white space here, so that both sides keep the same lines
in every tool that reads them later.
"""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from io import BufferedReader
from itertools import zip_longest
from pathlib import Path

BYTE_ORDER_MARK = "\ufeff"
GZIP_MAGIC = b"\x1f\x8b"
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # of what Windows calls Unicode

# What fairseq's dictionary has for the ends of a sentence and for padding, whoever writes it.
CONTROL_SYMBOLS = frozenset({"<s>", "<pad>", "</s>"})


class TextError(Exception):
    """A text cannot be used; the message says which file and line, why, and what to do."""


def find_text(prefix: str, lang: str) -> Path:
    """The file of one side: ``PREFIX.LANG`` or ``PREFIX.LANG.gz``.

    Raises TextError when neither exists, when both do, or when it is not a regular file.
    """
    return find_file(Path(f"{prefix}.{lang}"), _neighbours(Path(prefix)))


def find_file(plain: Path, hint: str = "") -> Path:
    """The file of that name, or of that with ``.gz``.

    Raises TextError as :func:`find_text`; where neither exists it ends with the hint.
    """
    gzipped = Path(f"{plain}.gz")
    if plain.exists() and gzipped.exists():
        raise TextError(f"both {plain} and {gzipped} exist: move away the one not meant")
    for path in (plain, gzipped):
        if path.is_file():
            return path
        if path.exists():
            raise TextError(f"{path} is not a regular file")
    raise TextError(f"neither {plain} nor {gzipped} exists{hint}")


def _neighbours(prefix: Path) -> str:
    """What does lie beside a missing file; it shows a mistyped prefix or language."""
    if not prefix.parent.is_dir():
        return f": there is no folder {prefix.parent}"
    names = sorted(
        path.name for path in prefix.parent.iterdir() if path.name.startswith(f"{prefix.name}.")
    )
    if not names:
        return f": no file in {prefix.parent} begins with '{prefix.name}.'; check the prefix"
    return f": found {', '.join(names[:8])}; check --source-lang and --target-lang"


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text, without their line ends.

    A byte order mark before the first line and the carriage return of a DOS line end are taken
    off; a carriage return within a line becomes a space, because Python's and fairseq's own
    readers would end the line there. Nothing else is changed.

    Raises TextError with file and line for invalid UTF-8, a NUL, or damaged gzip data.
    """
    number = 0
    try:
        with _open(path) as stream:
            for number, data in enumerate(stream, start=1):
                line = _decode(data, path, number)
                yield line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TextError(
            f"{path}, line {number + 1}: damaged or incomplete gzip data ({error}); "
            f"check it with gzip -t, and copy it again"
        ) from error
    except OSError as error:
        raise TextError(f"{path}, line {number + 1}: cannot be read: {error.strerror}") from error


def _open(path: Path) -> BufferedReader | gzip.GzipFile:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    stream = path.open("rb")
    if stream.read(2) == GZIP_MAGIC:
        stream.close()
        raise TextError(f"{path} is gzip data: give it a name that ends in .gz")
    stream.seek(0)
    return stream


def _decode(data: bytes, path: Path, number: int) -> str:
    try:
        line = data.decode("utf-8")
    except UnicodeDecodeError as error:
        if number == 1 and data.startswith(UTF16_MARKS):
            raise TextError(
                f"{path} is UTF-16: convert it with iconv -f UTF-16 -t UTF-8"
            ) from error
        raise TextError(
            f"{path}, line {number}: byte 0x{data[error.start]:02x} in column {error.start + 1} "
            f"is not valid UTF-8; convert the file, as with iconv -f ISO-8859-1 -t UTF-8"
        ) from error
    if "\0" in line:
        raise TextError(
            f"{path}, line {number}: a NUL character; if the file is UTF-16 convert it with "
            f"iconv -f UTF-16 -t UTF-8, otherwise take it out with tr -d '\\000'"
        )
    line = line.removesuffix("\n").removesuffix("\r")
    return line.replace("\r", " ")


def read_pairs(source: Path, target: Path) -> Iterator[tuple[str, str]]:
    """The line pairs of two files.

    Raises TextError, after the last common line, when one file has more lines than the other, and
    when they have none; and whatever `read_lines` raises.
    """
    pairs = source_count = target_count = 0
    for source_line, target_line in zip_longest(read_lines(source), read_lines(target)):
        source_count += source_line is not None
        target_count += target_line is not None
        if source_line is not None and target_line is not None:
            pairs += 1
            yield source_line, target_line
    for path, count in ((source, source_count), (target, target_count)):
        if count == 0:
            raise TextError(f"{path}, line 1: the file is empty; each side needs a line per pair")
    if source_count != target_count:
        longer = source if source_count > target_count else target
        raise TextError(
            f"{source} has {source_count} lines but {target} has {target_count}: the two must "
            f"correspond line by line; {longer}, line {pairs + 1} is the first without a partner"
        )


def normalize_space(line: str) -> str:
    """The words of a line with one space between, and none around.

    White space is what fairseq splits tokens at, which includes U+0085, U+00A0 and U+2028: none of
    them may end up within a token.
    """
    return " ".join(line.split())


def check_tokens(path: Path, number: int, line: str) -> None:
    """TextError where a token of a line is what fairseq takes for a control symbol.

    A model would see padding, or the end of a sentence, in the middle of it.
    """
    found = CONTROL_SYMBOLS.intersection(line.split())
    if found:
        raise TextError(
            f"{path}, line {number}: the token {min(found)} would be a control symbol of fairseq: "
            "write it otherwise (&lt;pad&gt;), or leave the line out on both sides"
        )
