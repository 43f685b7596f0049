"""How a repair takes the place of what it repairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Set on a function that replaces one of fairseq's, so that a second apply() leaves it alone.
REPAIRED = "_lrdrop_repaired"


def replace(owner: Any, function: Callable[..., Any]) -> None:
    """Put ``function`` in the place of the one of the same name in ``owner``."""
    setattr(function, REPAIRED, True)
    setattr(owner, function.__name__, function)
