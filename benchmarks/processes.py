"""Functions in processes of their own, whose memory and whose errors end with them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any
from unittest import mock

# What a ProcessFailed says where memory was all that went wrong.
OUT_OF_MEMORY = "out of memory"
KILLED = "the process was killed, perhaps because memory ran out"


class ProcessFailed(Exception):
    """What went wrong in the process, in a line."""


class KeptProcess:
    """Runs functions one after the other in a process, which a function that fails takes with it.

    To start one and wake up the GPU takes longer than what is measured there. But an error on the
    GPU breaks all that comes after it in the same process, and what an error still refers to stays
    in memory: the next function then gets a new process.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """The result of a function of a module.

        Raises:
            ProcessFailed: it raised an error, whose traceback is on standard error, or was killed.
        """
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), initializer=_begin
            )
        try:
            result, problem = self._pool.submit(_guarded, function, args).result()
        except BrokenProcessPool:
            result, problem = None, KILLED
        if problem:
            self.stop()
            raise ProcessFailed(problem)
        return result

    def stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def __enter__(self) -> KeptProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def in_process(environment: dict[str, str], function: Callable[..., Any], *args: Any) -> Any:
    """The result of a function in a process of its own with this in its environment, as ``run``."""
    with mock.patch.dict(os.environ, environment), KeptProcess() as process:
        return process.run(function, *args)


def _begin() -> None:
    # One that is killed leaves no process behind, with the memory that this has on the GPU.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # fairseq says much about itself, and so do the libraries under it.
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # where the pool runs its functions
    parent.join()
    os._exit(1)


def _guarded(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, str]:
    """(result, "") or (None, what went wrong): not every error can be sent as it is."""
    try:
        return function(*args), ""
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        # torch's lines after the first one are advice.
        text = str(error).partition("\n")[0]
        if OUT_OF_MEMORY in text or "can't allocate memory" in text:
            return None, OUT_OF_MEMORY
        return None, f"{type(error).__name__}: {text}"
