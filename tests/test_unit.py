"""tests.unit: whatever starts something that takes long is skipped, and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable

import fairseq_cli.train
import pytest
import torch

from tests import unit

SLOW: dict[str, Callable[[], object]] = {
    "a program": lambda: subprocess.run([sys.executable, "-c", "pass"], check=True),
    "a spawned program": lambda: os.posix_spawn(sys.executable, [sys.executable], os.environ),
    "a process": lambda: multiprocessing.get_context("spawn").Process(target=print).start(),
    "a fork": lambda: multiprocessing.get_context("fork").Process(target=print).start(),
    "a training": lambda: fairseq_cli.train.main(None),
    "a compilation": lambda: torch.nn.Linear(1, 1).compile(backend="eager"),
}


@pytest.fixture
def units_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in unit.STARTS:  # monkeypatch puts them back
        monkeypatch.setattr(owner, name, getattr(owner, name))
    unit.leave_out_the_others()


@pytest.mark.usefixtures("units_alone")
@pytest.mark.parametrize("what", SLOW)
def test_a_test_that_starts_something_slow_is_skipped(what: str) -> None:
    with pytest.raises(pytest.skip.Exception, match="not a unit test"):
        SLOW[what]()


@pytest.mark.usefixtures("units_alone")
def test_outside_of_tests_all_is_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    SLOW["a program"]()
