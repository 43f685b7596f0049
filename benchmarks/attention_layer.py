"""Time and memory of one layer's attention term by sequence length: dense against blockwise.

    python -m benchmarks.attention_layer [--length 256 ...] [--longest 16]

One Transformer layer of BART-large's size (d 1024, FFN 4096, 16 heads) on one sentence in two
passes: forward, attention term, backward. On a CPU every measurement is a process of its own.
``--longest GIB`` looks instead for the longest sentence that trains within that much memory.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.attention_step import FORMS, Step
from benchmarks.machine import (
    EXACT,
    bytes_in_use,
    describe_machine,
    in_words,
    peak_bytes,
    resident_bytes,
    start_over,
)
from benchmarks.processes import KILLED, OUT_OF_MEMORY, KeptProcess, ProcessFailed, in_process
from benchmarks.tables import print_lines, progress, write_lines
from scripts.runs.options import output_file, positive


@dataclass
class Measured:
    """Of a step; ``status`` is "ok", or says why there are no seconds and peak bytes."""

    form: str
    length: int
    seconds: float | None
    peak: int | None
    status: str = "ok"


def main() -> int:
    """The command line; returns the exit status."""
    args = _parse()
    machine = describe_machine()
    print(in_words(machine))
    if args.longest is not None:
        limit = args.longest * 2**30
        jobs = [partial(find_longest, form, limit, args.most) for form in FORMS]
    else:
        jobs = [partial(measure, form, T, args.repeat) for T in args.length for form in FORMS]
    results: list[Measured] = []
    with KeptProcess() as process:
        for job in jobs:
            try:
                results.append(job(process))
            except ProcessFailed as problem:
                sys.exit(f"attention_layer: error: {problem}")
            write_lines(args.csv, [_line(result) | machine for result in results])
    progress("")
    _print(results)
    print(f"written to {args.csv}")
    return 0 if all(result.status in ("ok", OUT_OF_MEMORY) for result in results) else 1


def measure(form: str, length: int, repeat: int, process: KeptProcess) -> Measured:
    """Median seconds and peak bytes of a step.

    On a CPU each in a process of its own; on a GPU, where torch counts the memory, in ``process``.
    """
    progress(f"{form}, T = {length}")
    try:
        if torch.cuda.is_available():
            seconds, peak = process.run(_seconds_and_peak, form, length, repeat)
        else:
            seconds = in_process({}, _seconds, form, length, repeat)
            peak = in_process(EXACT, _peak, form, length)
    except ProcessFailed as problem:
        return Measured(form, length, None, None, str(problem))
    return Measured(form, length, seconds, peak)


def find_longest(form: str, limit: float, most: int, process: KeptProcess) -> Measured:
    """The longest sentence that trains below ``limit`` bytes, to a 1/16 of it, up to ``most``."""
    low, high = 256, 512
    if not _fits(form, low, limit):
        return Measured(form, low, None, None, f"not below {limit / 2**30:g} GiB")
    while _fits(form, min(high, most), limit):
        if high >= most:
            return measure(form, most, 1, process)
        low, high = high, 2 * high
    high = min(high, most)
    while high - low > low // 16:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(form, middle, limit) else (low, middle)
    return measure(form, low, 1, process)


def _fits(form: str, length: int, limit: float) -> bool:
    progress(f"{form}, T = {length}: is it below {limit / 2**30:g} GiB?")
    try:
        peak: int | None = in_process(EXACT, _peak, form, length, limit)
    except ProcessFailed as problem:
        if str(problem) not in (OUT_OF_MEMORY, KILLED):
            raise
        return False  # memory ends below the limit
    return peak is not None and peak <= limit


def _seconds_and_peak(form: str, length: int, repeat: int) -> tuple[float, int]:
    cuda = torch.cuda.is_available()
    start_over(cuda)
    before = bytes_in_use(cuda)
    return _seconds(form, length, repeat), peak_bytes(before, cuda)


def _seconds(form: str, length: int, repeat: int) -> float:
    step = Step(form, length)
    seconds = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        step.run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])  # the first one warms up


def _peak(form: str, length: int, limit: float | None = None) -> int | None:
    """Peak bytes of a step; None where far more than ``limit`` would be needed."""
    if limit and not torch.cuda.is_available():
        # An error, before the system has no memory left. Twice the limit, as not all is used.
        most = resident_bytes("VmSize") + int(2 * limit)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    before = bytes_in_use(torch.cuda.is_available())
    try:
        Step(form, length).run()
    except RuntimeError as error:
        if limit is None or "memory" not in str(error):
            raise
        return None
    return peak_bytes(before, torch.cuda.is_available())


def _line(result: Measured) -> dict[str, object]:
    line: dict[str, object] = {"form": result.form, "length": result.length}
    return line | {"seconds": result.seconds, "peak_bytes": result.peak, "status": result.status}


def _print(results: list[Measured]) -> None:
    lines = []
    for r in results:
        line = {"form": r.form, "T": str(r.length), "seconds": r.status, "peak GiB": ""}
        if r.seconds is not None and r.peak is not None:
            line |= {"seconds": f"{r.seconds:.3f}", "peak GiB": f"{r.peak / 2**30:.2f}"}
        lines.append(line)
    print_lines(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--length", type=positive, nargs="+", default=[256, 512, 1024, 2048, 4096])
    parser.add_argument("--repeat", type=positive, default=5, help="steps that are counted")
    parser.add_argument("--longest", type=positive, metavar="GIB", help="memory of the longest one")
    parser.add_argument("--most", type=positive, default=16384, help="no longer than this")
    parser.add_argument("--csv", type=output_file, default="build/benchmarks/attention_layer.csv")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
