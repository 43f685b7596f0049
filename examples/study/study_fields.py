"""Checked reading of a study's YAML: every error names the file, the place in it and the value."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from typing import Any

# Of data and methods: a folder's name, and words in a table.
NAME = re.compile(r"[A-Za-z0-9][\w.+=-]*")


class StudyError(ValueError):
    """A study that cannot be run; the message names the file, what is wrong and what to do."""


class Fields:
    """A mapping in the file, and where it stands."""

    def __init__(self, content: Any, where: str, name: str = "") -> None:
        content = {} if content is None else content
        if not isinstance(content, Mapping):
            raise StudyError(f"{where}: a mapping was expected, not {content!r}")
        self.content, self.where, self.name = content, where, name

    def allow(self, *known: str) -> None:
        for key in self.content:
            if key not in known:
                raise StudyError(f"{self.where}: unknown key {key!r}; known: {', '.join(known)}")

    def children(self, key: str) -> list[Fields]:
        inner = Fields(self.content.get(key), f"{self.where}: {key}").content
        if not inner:
            raise StudyError(f"{self.where}: {key} is missing")
        for name in inner:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise StudyError(f"{self.where}: {key}: {name!r} is no name for a folder")
        return [Fields(inner[name], f"{self.where}: {key}: {name}", name) for name in inner]

    def text(self, key: str) -> str:
        value = self.content.get(key)
        if not isinstance(value, str) or not value:
            raise StudyError(f"{self.where}: {key} must be text, not {value!r}")
        return value

    def whole(self, key: str, *default: Any, least: int = 1) -> Any:
        value = self.content.get(key, *default)
        if default and value == default[0]:
            return value
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise StudyError(
                f"{self.where}: {key} must be a whole number of at least {least}, not {value!r}"
            )
        return value

    def weight(self, key: str) -> float:
        value = self.content.get(key, 0.0)
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not 0 <= value < math.inf
        ):
            raise StudyError(f"{self.where}: {key} must be a weight of at least 0, not {value!r}")
        return float(value)

    def flags(self) -> tuple[str, ...]:
        """The value of ``flags`` as words, as a shell splits them."""
        value = self.content.get("flags", "")
        if not isinstance(value, str):
            raise StudyError(f"{self.where}: flags must be text, not {value!r}")
        try:
            return tuple(shlex.split(value))
        except ValueError as error:  # a quote that is not closed
            raise StudyError(f"{self.where}: flags: {error}: {value!r}") from error
