"""Time and memory of LR-Drop's training step beside plain training and R-Drop.

    python -m benchmarks.train_step [--shape multi30k ...] [--phases] [-- fairseq-train flags]

Every contender is a process of its own with fairseq's trainer, a model and the same fixed
batches; one works at a time. They take turns, so that a disturbance of the machine hits all of
them; medians are reported. What follows ``--`` goes to every contender:
``-- --fp16``, ``-- --bf16``, ``-- --checkpoint-activations``.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import traceback
import warnings
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.contenders import CONTENDERS, TrainStep
from benchmarks.machine import EXACT, describe_machine
from benchmarks.shapes import SHAPES, Shape
from benchmarks.tables import Row, print_table, progress, write_csv


def main() -> None:
    """The command line."""
    args = _parse()
    machine = describe_machine()
    print(" ".join(f"{key}: {value}." for key, value in machine.items()))
    rows: list[Row] = []
    for shape in args.shape:
        measured = measure(shape, args)
        rows += measured
        print_table(measured)
        write_csv(args.csv, rows, machine)
    print(f"written to {args.csv}")


def measure(shape: str, args: argparse.Namespace) -> list[Row]:
    """Run all contenders on one shape, taking turns.

    On a CPU then each once more for its memory; torch counts that of a GPU exactly as it is.
    """
    workers = {name: Worker(name, shape, args) for name in args.contenders}
    try:
        for turn in range(args.turns):
            for name, worker in workers.items():
                progress(f"{shape}: turn {turn + 1} of {args.turns}, {name}")
                worker.take_turn()
        timings = {name: worker.result() for name, worker in workers.items()}
        taken = {name: worker.peak() for name, worker in workers.items()}
    finally:
        for worker in workers.values():
            worker.stop()
    rows = []
    for name, (seconds, phases) in timings.items():
        allocated, resident = taken[name], None
        if not torch.cuda.is_available() or "--cpu" in args.flags:
            progress(f"{shape}: memory of {name}")
            allocated, resident = measure_allocated(name, shape, args), taken[name]
        rows.append(Row(shape, name, seconds, allocated, resident, phases))
    progress("")
    return rows


def measure_allocated(name: str, shape: str, args: argparse.Namespace) -> int:
    """Peak bytes that updates need, without what the C library keeps of freed memory."""
    with mock.patch.dict(os.environ, EXACT):
        worker = Worker(name, shape, args)
    try:
        worker.take_turn()
        return worker.peak()
    finally:
        worker.stop()


class Worker:
    """One contender in a process of its own."""

    def __init__(self, name: str, shape: str, args: argparse.Namespace) -> None:
        context = get_context("spawn")
        self._pipe, child = context.Pipe()
        self._process = context.Process(
            target=_serve,
            args=(child, name, _shape(shape, args), args.steps, args.flags),
            daemon=True,
        )
        self._process.start()
        child.close()
        self._name = name
        self._steps: int = args.steps
        self._phases: bool = args.phases
        self._seconds: list[float] = []
        self._phase_seconds: list[dict[str, float]] = []

    def take_turn(self) -> None:
        """One update that is not counted, the ones that are, and a rest without freed memory."""
        self._ask("run", 0)
        for step in range(self._steps):
            self._seconds.append(self._ask("run", step))
            if self._phases:
                self._phase_seconds.append(self._ask("run_phases", step))
        self._ask("rest")

    def result(self) -> tuple[float, dict[str, float]]:
        """Median seconds of a step, and of each phase (if asked for)."""
        names = self._phase_seconds[0] if self._phase_seconds else ()
        phases = {p: statistics.median(s[p] for s in self._phase_seconds) for p in names}
        return statistics.median(self._seconds), phases

    def peak(self) -> int:
        """Highest memory in use so far, see ``machine.peak_bytes``."""
        return self._ask("peak")  # type: ignore[no-any-return]

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()

    def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            self._pipe.send((method, arguments))
            answer = self._pipe.recv()
        except (BrokenPipeError, ConnectionResetError, EOFError):
            raise RuntimeError(
                f"{self._name} was killed, perhaps because memory ran out: compare fewer at a time "
                "(--contenders), or on smaller batches (--max-tokens)"
            ) from None
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _shape(name: str, args: argparse.Namespace) -> Shape:
    shape = SHAPES[name]
    return replace(shape, max_tokens=args.max_tokens) if args.max_tokens else shape


def _serve(pipe: Any, name: str, shape: Shape, n_batches: int, flags: list[str]) -> None:
    """What a contender's process does: build, then answer each request."""
    # fairseq says much about itself, and so do the libraries under it.
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    contender: TrainStep | None = None
    while True:
        method, arguments = pipe.recv()
        try:
            contender = contender or TrainStep(name, shape, n_batches, flags)
            pipe.send(getattr(contender, method)(*arguments))
        except SystemExit:  # of argparse, which has said what is wrong
            pipe.send(RuntimeError(f"{name}: fairseq does not take the flags after --"))
        except Exception as error:
            traceback.print_exc()
            pipe.send(RuntimeError(f"{name}: {error}"))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--max-tokens", type=int, help="of a batch, instead of the shape's own")
    parser.add_argument("--turns", type=int, default=5, help="of each contender")
    parser.add_argument(
        "--steps", type=int, default=2, help="updates of a turn that count, each on its own batch"
    )
    parser.add_argument(
        "--phases", action="store_true", help="also forward, losses, backward and optimizer"
    )
    parser.add_argument("--csv", type=Path, default=Path("build/benchmarks/train_step.csv"))
    own, flags = sys.argv[1:], []
    if "--" in own:
        own, flags = own[: own.index("--")], own[own.index("--") + 1 :]
    args = parser.parse_args(own)
    args.flags = flags
    return args


if __name__ == "__main__":
    main()
