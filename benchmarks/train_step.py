"""Time and memory of LR-Drop's training step beside plain training and R-Drop.

    python -m benchmarks.train_step [--shape multi30k ...] [--phases] [-- fairseq-train flags]

Every contender is a process of its own with fairseq's trainer, a model and the same fixed
batches; one works at a time. They take turns, so that a disturbance of the machine hits all of
them; medians are reported. One that fails, as where memory runs out, says so in its row, and the
others go on. What follows ``--`` goes to every contender:
``-- --fp16``, ``-- --bf16``, ``-- --checkpoint-activations``.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
from dataclasses import replace
from typing import Any

import torch

from benchmarks.contenders import CONTENDERS, TrainStep
from benchmarks.machine import EXACT, describe_machine, in_words
from benchmarks.processes import OUT_OF_MEMORY, KeptProcess, ProcessFailed, in_process
from benchmarks.shapes import SHAPES, Shape
from benchmarks.tables import Row, print_table, progress, write_csv
from scripts.runs.options import output_file, positive


def main() -> int:
    """The command line; returns the exit status."""
    args = _parse()
    machine = describe_machine()
    print(in_words(machine))
    rows: list[Row] = []
    for shape in args.shape:
        measured = measure(shape, args)
        rows += measured
        print_table(measured)
        write_csv(args.csv, rows, machine)
        if all(row.status != "ok" for row in measured):
            break  # it is not the shape
    print(f"written to {args.csv}")
    return 0 if all(row.status in ("ok", OUT_OF_MEMORY) for row in rows) else 1


def measure(shape: str, args: argparse.Namespace) -> list[Row]:
    """Run all contenders on one shape, taking turns.

    On a CPU then each once more for its memory; torch counts that of a GPU exactly as it is.
    """
    workers = [Worker(name, shape, args) for name in args.contenders]
    try:
        for turn in range(args.turns):
            for worker in workers:
                progress(f"{shape}: turn {turn + 1} of {args.turns}, {worker.row.name}")
                worker.take_turn()
    finally:
        for worker in workers:
            worker.stop()
    if not torch.cuda.is_available() or "--cpu" in args.flags:
        for worker in workers:
            progress(f"{shape}: memory of {worker.row.name}")
            worker.measure_allocated()
    progress("")
    return [worker.row for worker in workers]


class Worker:
    """One contender in a process of its own, and what is known of it."""

    def __init__(self, name: str, shape: str, args: argparse.Namespace) -> None:
        sizes = SHAPES[shape]
        if args.max_tokens is not None:
            sizes = replace(sizes, max_tokens=args.max_tokens)
        self.row = Row(shape, name)
        self._settings = (name, sizes, args.steps, tuple(args.flags))
        self._with_phases: bool = args.phases
        self._process = KeptProcess()
        self._seconds: list[float] = []
        self._phases: list[dict[str, float]] = []

    def take_turn(self) -> None:
        """The row gets the medians of all turns so far, and the highest memory."""
        if self.row.status != "ok":
            return
        try:
            turn = self._process.run(_take_turn, self._settings, self._with_phases)
        except ProcessFailed as problem:
            self.row = Row(self.row.shape, self.row.name, str(problem))
            return
        seconds, phases, self.row.allocated = turn
        self._seconds += seconds
        self._phases += phases
        self.row.seconds = statistics.median(self._seconds)
        for phase in self._phases[0] if self._phases else ():
            self.row.phases[phase] = statistics.median(each[phase] for each in self._phases)

    def measure_allocated(self) -> None:
        """Peak bytes that updates need, without what the C library keeps of freed memory."""
        if self.row.status != "ok":
            return
        self.row.resident = self.row.allocated
        try:
            _, _, self.row.allocated = in_process(EXACT, _take_turn, self._settings, False)
        except ProcessFailed as problem:
            self.row.status = str(problem)

    def stop(self) -> None:
        self._process.stop()


@functools.cache  # for all turns of the process
def _contender(name: str, shape: Shape, n_batches: int, flags: tuple[str, ...]) -> TrainStep:
    try:
        return TrainStep(name, shape, n_batches, list(flags))
    except SystemExit:  # of argparse, which has said what is wrong
        raise ValueError(f"fairseq does not take these flags: {' '.join(flags)}") from None


def _take_turn(
    settings: tuple[str, Shape, int, tuple[str, ...]], with_phases: bool
) -> tuple[list[float], list[dict[str, float]], int]:
    """One update that is not counted, the ones that are, and a rest without freed memory.

    Returns:
        Seconds of each update, and of its phases if asked for; the highest memory in use so far.
    """
    contender = _contender(*settings)
    contender.run(0)
    seconds: list[float] = []
    phases: list[dict[str, Any]] = []
    for batch in range(len(contender.batches)):
        seconds.append(contender.run(batch))
        if with_phases:
            phases.append(contender.run_phases(batch))
    contender.rest()
    return seconds, phases, contender.peak()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--max-tokens", type=positive, help="of a batch, instead of the shape's")
    parser.add_argument("--turns", type=positive, default=5, help="of each contender")
    parser.add_argument(
        "--steps",
        type=positive,
        default=2,
        help="updates of a turn that count, each on its own batch",
    )
    parser.add_argument(
        "--phases", action="store_true", help="also forward, losses, backward and optimizer"
    )
    parser.add_argument("--csv", type=output_file, default="build/benchmarks/train_step.csv")
    own, flags = sys.argv[1:], []
    if "--" in own:
        own, flags = own[: own.index("--")], own[own.index("--") + 1 :]
    args = parser.parse_args(own)
    args.flags = flags
    return args


if __name__ == "__main__":
    sys.exit(main())
