"""The unit tests alone (``pytest --unit``, ``make check``): those that start no other program.

What a test starts takes most of the time of all tests. No list says which tests these are: a test
is skipped where it, or a fixture that it needs, starts its first program.
"""

from __future__ import annotations

import multiprocessing.util
import os
import subprocess
from typing import Any

import pytest

# Where Python starts programs; each with the name of the function in its module or class.
STARTS = (
    (subprocess.Popen, "_execute_child"),
    (multiprocessing.util, "spawnv_passfds"),
    (os, "posix_spawn"),
)


def leave_out_the_others() -> None:
    """From now on starting a program skips the test that is running; outside of tests it may."""
    for owner, name in STARTS:
        setattr(owner, name, _skipping(getattr(owner, name)))


def _skipping(start: Any) -> Any:
    def skip_or_start(*args: Any, **options: Any) -> Any:
        if "PYTEST_CURRENT_TEST" in os.environ:
            pytest.skip("starts a program")
        return start(*args, **options)

    return skip_or_start
