"""The unit tests alone (``pytest --unit``, ``make check``): nothing that takes long is started.

Programs, processes, whole trainings and compilations take most of the time of all tests. No list
says which tests have one: a test is skipped where it, or a fixture that it needs, starts its first.
"""

from __future__ import annotations

import os
import subprocess
from multiprocessing.process import BaseProcess
from typing import Any

import fairseq_cli.train
import pytest
import torch

# Each is started through this function of a module or class.
STARTS: tuple[tuple[Any, str], ...] = (
    (subprocess.Popen, "_execute_child"),
    (os, "posix_spawn"),
    (BaseProcess, "start"),
    (fairseq_cli.train, "main"),
    (torch, "compile"),
)


def leave_out_the_others() -> None:
    """From now on, starting one of these skips the test that is running."""
    for owner, name in STARTS:
        setattr(owner, name, _skipping(getattr(owner, name)))


def _skipping(start: Any) -> Any:
    def skip_or_start(*args: Any, **options: Any) -> Any:
        if "PYTEST_CURRENT_TEST" in os.environ:  # and not while pytest imports the tests
            pytest.skip("not a unit test")
        return start(*args, **options)

    return skip_or_start
