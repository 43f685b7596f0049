"""Time and memory of LR-Drop's training step beside plain training and R-Drop.

    python -m benchmarks.train_step [--shape multi30k ...] [--phases] [-- fairseq-train flags]

Every contender is a process of its own with fairseq's trainer, a model and the same fixed
batches; one works at a time. They take turns, batch by batch, so that a disturbance of the
machine hits all of them; medians are reported. What follows ``--`` goes to every contender:
``-- --fp16``, ``-- --bf16``, ``-- --checkpoint-activations``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import traceback
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.machine import describe_machine
from benchmarks.shapes import SHAPES
from benchmarks.tables import Row, print_table, write_csv

NAMES = ("R0", "R1", "R1f", "R2", "R3", "R4")


def main() -> None:
    args = _parse()
    machine = describe_machine()
    print(" ".join(f"{key}: {value}." for key, value in machine.items()))
    rows: list[Row] = []
    for shape in args.shape:
        rows += measure(shape, args)
        print_table(rows[-len(args.contenders) :])
        write_csv(args.csv, rows, machine)
    print(f"written to {args.csv}")


def measure(shape: str, args: argparse.Namespace) -> list[Row]:
    """Run all contenders on one shape, taking turns; then each once more for its memory."""
    workers = {name: Worker(name, shape, args) for name in args.contenders}
    n_rounds = args.warmup + args.repeat
    rows = []
    try:
        for round_ in range(n_rounds):
            for name, worker in workers.items():
                _progress(f"{shape}: round {round_ + 1} of {n_rounds}, {name}")
                worker.step(round_ % args.batches, keep=round_ >= args.warmup)
        for name, worker in workers.items():
            _progress(f"{shape}: memory of {name}")
            seconds, phases = worker.result()
            allocated = measure_allocated(name, shape, args)
            rows.append(Row(shape, name, seconds, allocated, worker.peak(), phases))
    finally:
        for worker in workers.values():
            worker.stop()
    _progress("")
    return rows


def measure_allocated(name: str, shape: str, args: argparse.Namespace) -> int:
    """Peak bytes that updates need, without what the C library keeps of memory that was freed.

    That is what torch counts on a GPU. On a CPU every allocation is made a mapping of its own,
    which the kernel gets back at once.
    """
    with mock.patch.dict(os.environ, {"MALLOC_MMAP_THRESHOLD_": "65536"}):
        worker = Worker(name, shape, args)
    try:
        for batch in range(max(2, args.batches)):
            worker.step(batch % args.batches, keep=False)
        return worker.peak()
    finally:
        worker.stop()


class Worker:
    """One contender in a process of its own."""

    def __init__(self, name: str, shape: str, args: argparse.Namespace) -> None:
        context = get_context("spawn")
        self._pipe, child = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(child, name, shape, args.batches, args.flags), daemon=True
        )
        self._process.start()
        self._phases: bool = args.phases
        self._seconds: list[float] = []
        self._phase_seconds: list[dict[str, float]] = []

    def step(self, batch: int, keep: bool) -> None:
        seconds = self._ask("run", batch)
        phases = self._ask("run_phases", batch) if self._phases else None
        if keep:
            self._seconds.append(seconds)
        if keep and phases:
            self._phase_seconds.append(phases)

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
        self._pipe.send((method, arguments))
        answer = self._pipe.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _serve(pipe: Any, name: str, shape: str, n_batches: int, flags: list[str]) -> None:
    """What a contender's process does: build, then answer each request."""
    from benchmarks.contenders import TrainStep

    contender: TrainStep | None = None
    while True:
        method, arguments = pipe.recv()
        try:
            contender = contender or TrainStep(name, SHAPES[shape], n_batches, flags)
            pipe.send(getattr(contender, method)(*arguments))
        except Exception as error:
            traceback.print_exc()
            pipe.send(RuntimeError(f"{name} on {shape}: {error}"))


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--contenders", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--batches", type=int, default=2, help="different batches per shape")
    parser.add_argument("--warmup", type=int, default=2, help="updates that are not counted")
    parser.add_argument("--repeat", type=int, default=10, help="updates that are counted")
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
