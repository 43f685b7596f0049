"""How a repair takes the place of what it repairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Set on a function that replaces one of fairseq's, so that a second apply() leaves it alone. Where
# several repairs replace the same function, each has a mark of its own.
REPAIRED = "_lrdrop_repaired"


def replace(owner: Any, function: Callable[..., Any], mark: str = REPAIRED) -> None:
    """Put ``function`` in the place of the one of the same name in ``owner``."""
    setattr(function, mark, True)
    setattr(owner, function.__name__, function)
