"""What test_moses_text.py has workers do: a module of its own, as each worker imports it."""

from __future__ import annotations

import os
from collections.abc import Callable


def failing(bad: str) -> Callable[[str], str]:
    def check(line: str) -> str:
        if line == bad:
            raise ValueError(f"line {line}")
        return line

    return check


def dying(_: str) -> Callable[[str], str]:
    """As a worker ends that the system kills."""
    return lambda line: os._exit(1)
