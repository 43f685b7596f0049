"""One function over the lines of a long text in several processes, in order and in little memory.

Batches go round the workers in turn, one at a time to each, so the result does not depend on how
many there are, and never more than one batch per worker is held. The workers talk through pipes:
when the main process is killed they read the pipe's end and leave.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

BATCH_LINES = 2000

LineFunction = Callable[[str], str]


def map_lines(
    make: Callable[..., LineFunction],
    arguments: tuple[Any, ...],
    lines: Iterable[str],
    workers: int,
) -> Iterator[str]:
    """``make(*arguments)`` of every line, in order.

    Less than a batch is done here: it is not worth a process, which has to load what lines share.
    Otherwise each worker calls ``make``, a function of a module, once.
    Raises what ``make`` or the function raised, in the caller; ChildProcessError if a worker ended.
    """
    lines = iter(lines)
    first = list(islice(lines, BATCH_LINES))
    lines = chain(first, lines)
    if workers == 1 or len(first) < BATCH_LINES:
        yield from map(make(*arguments), lines)
        return
    # A forked worker would inherit the other workers' pipes and never see their end.
    context = multiprocessing.get_context("spawn")
    processes: list[SpawnProcess] = []
    busy: deque[Connection] = deque()  # a pipe to each worker, that of the oldest batch first
    try:
        while batch := list(islice(lines, BATCH_LINES)):
            if len(processes) < workers:
                pipe, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, make, arguments), daemon=True)
                process.start()
                theirs.close()
                processes.append(process)
            else:
                pipe = busy.popleft()
                yield from _receive(pipe)
            busy.append(pipe)
            pipe.send(batch)
        for pipe in busy:
            yield from _receive(pipe)
    finally:
        for pipe in busy:
            pipe.close()
        for process in processes:
            process.join()


def _receive(pipe: Connection) -> list[str]:
    try:
        result = pipe.recv()
    except EOFError as error:
        raise ChildProcessError(
            "a worker process ended early; was it killed for its memory? Give fewer --workers"
        ) from error
    if isinstance(result, Exception):
        raise result
    return list(result)


def _work(pipe: Connection, make: Callable[..., LineFunction], arguments: tuple[Any, ...]) -> None:
    """A worker: answers every batch with its result, until the other end is closed."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        batch = pipe.recv()
        try:
            function = make(*arguments)
            while True:
                pipe.send(list(map(function, batch)))
                batch = pipe.recv()
        except (EOFError, OSError):
            raise
        except Exception as error:  # for the main process to raise
            pipe.send(error)
