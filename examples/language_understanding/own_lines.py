"""Lines of text as users have them: UTF-8, with or without a byte order mark and DOS line ends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from examples.language_understanding.sentence_tasks import TaskError

BYTE_ORDER_MARK = "\ufeff"


def clean(text: str) -> str:
    """A text as it can stand on a line: no white space around it, tabs and line ends a space."""
    return re.sub(r"[\t\r\n]+", " ", text).strip()


def decoded(lines: Iterable[bytes], name: str) -> Iterator[tuple[int, str]]:
    """(number, line with its end) of a text; TaskError with the line where it is not UTF-8."""
    for number, data in enumerate(lines, start=1):
        try:
            line = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise TaskError(
                f"{name}, line {number}: byte 0x{data[error.start]:02x} in column "
                f"{error.start + 1} is not valid UTF-8; convert the text, as with "
                "iconv -f ISO-8859-1 -t UTF-8"
            ) from error
        if "\0" in line:
            raise TaskError(f"{name}, line {number}: a NUL character: is this text?")
        yield number, line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
