"""Time and memory of updates that fill a GPU, in half precision.

    python -m benchmarks.gpu_steps [--shape multi30k ...] [--smoke] [--csv FILE]

The contenders of ``train_step``, one after the other: side by side on one card they would share
its memory. Batches have the shape's ``gpu_max_tokens``, chosen for 80 GB. What fills those is R2:
fairseq's R-Drop holds logits, logarithms, probabilities, both divergences and their gradients, of
N target tokens in two passes at most 8 float32 tensors of 2N x V at a time (measured on a CPU: six
to seven). Estimated GiB, with what the layers keep for the backward:

    shape          N at most  V       8 * 2N * V * 4 bytes  layers
    multi30k       65,536     9,712   38                    6
    iwslt          32,768     10,000  20                    14
    wmt            16,384     32,000  31                    9
    summarization  3,000      50,264  9                     15
    language_model 8,192      50,264  25                    3

With more tokens for wmt, 2N * V comes near 2**31, where torch's kernels change to slower indices.
A contender that needs more memory than there is says so in its row, and the others go on.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import replace
from itertools import product
from typing import Any

import torch

from benchmarks.contenders import TrainStep
from benchmarks.machine import describe_machine, in_words, start_over
from benchmarks.precisions import precision_flags
from benchmarks.processes import OUT_OF_MEMORY, KeptProcess, ProcessFailed
from benchmarks.shapes import SHAPES
from benchmarks.tables import print_lines, progress, write_lines
from scripts.runs.options import output_file

PRECISIONS = ("fp16", "bf16")
# R2, the one that may not fit, comes last.
CONTENDERS = ("R0", "R0f", "R1f", "R4", "R2")
BATCHES = 2
# Updates on each batch that count.
ROUNDS = 5
_SIZES = ("layers=1", "embed-dim=32", "ffn-embed-dim=64", "attention-heads=2")
_SMOKE = {
    "translation": [f"--{side}-{size}" for side in ("encoder", "decoder") for size in _SIZES],
    "language_modeling": [
        *(f"--decoder-{size}" for size in (*_SIZES, "input-dim=32", "output-dim=32")),
    ],
}


def main() -> int:
    """The command line; returns the exit status."""
    args = _parse()
    machine = describe_machine()
    print(in_words(machine))
    rows: list[dict[str, Any]] = []
    with KeptProcess() as process:
        for shape, precision, step in product(args.shape, PRECISIONS, CONTENDERS):
            progress(f"{shape}, {precision}, {step}")
            row = {"shape": shape, "precision": precision, "step": step}
            try:
                row |= process.run(measure, shape, precision, step, args.smoke)
            except ProcessFailed as problem:
                row |= {"status": str(problem)}
            rows.append(row)
            write_lines(args.csv, [row | machine for row in rows])
    progress("")
    print_lines([{key: str(value) for key, value in row.items()} for row in rows])
    print(f"written to {args.csv}")
    return 0 if all(row["status"] in ("ok", OUT_OF_MEMORY) for row in rows) else 1


def measure(shape: str, precision: str, step: str, smoke: bool) -> dict[str, Any]:
    """The row of one contender: median seconds of an update, and the peak of its memory."""
    start_over(torch.cuda.is_available())
    sizes = replace(SHAPES[shape], max_tokens=SHAPES[shape].gpu_max_tokens)
    flags: list[str] = []
    rounds = ROUNDS
    if smoke:
        longest = max(sizes.source_length, 256)
        flags = ["--dropout=0.1", *_SMOKE[sizes.task]]
        sizes = replace(sizes, vocabulary=100, max_tokens=longest)
        rounds = 1
    contender = TrainStep(step, sizes, BATCHES, [*flags, *precision_flags(precision)])
    # The first update on each batch finds the kernels, the memory and the loss scale.
    for batch in range(BATCHES):
        contender.run(batch)
    seconds = [contender.run(batch) for _ in range(rounds) for batch in range(BATCHES)]
    return {
        "status": "ok",
        "max_tokens": sizes.max_tokens,
        "seconds": statistics.median(seconds),
        "slowest_seconds": max(seconds),
        "peak_bytes": contender.peak(),
        "overflows": contender.overflows,
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--smoke", action="store_true", help="tiny models: only to see it run")
    parser.add_argument("--csv", type=output_file, default="build/benchmarks/gpu_steps.csv")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
