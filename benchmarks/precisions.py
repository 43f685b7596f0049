"""One update in each precision, of each architecture, beside one with the losses as formulas.

    python -m benchmarks.precisions [--smoke] [--csv FILE]

Two updates of fairseq's trainer from the same model, with the same dropout: LR-Drop as it is, and
with its losses in their plain forms; on short sentences, and on long ones, whose attention maps are
not formed. A row tells how far apart the terms and the gradients are, relative to the latter, with
the sentences with which they are further apart. Both round in the same precision, so they differ by
a few roundings of it.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch

from benchmarks.architectures import ARCHITECTURES, FULL, SMOKE, Size
from benchmarks.contenders import MOST_OVERFLOWS, plain_forms
from benchmarks.machine import describe_machine
from benchmarks.processes import KeptProcess, ProcessFailed
from benchmarks.tables import print_lines, progress, write_lines
from scripts.runs.options import output_file


@dataclass(frozen=True)
class Precision:
    """fairseq's flags, and the largest deviation, relative, that is a matter of rounding.

    Some five times what was seen of these models on a CPU, and of float32 fifty times. The output
    term has a limit of its own: the divergence of two predictions of RoBERTa is so small that in
    bfloat16 roundings move it by 1e-2.
    """

    flags: tuple[str, ...]
    term_limit: float
    output_limit: float
    gradient_limit: float

    def limit(self, key: str) -> float:
        """Of a term of ``TERMS``, or of "gradient"."""
        own = {"output": self.output_limit, "gradient": self.gradient_limit}
        return own.get(key, self.term_limit)


PRECISIONS = {
    "fp32": Precision((), 1e-4, 1e-4, 1e-4),
    "fp16": Precision(("--fp16",), 1e-3, 1e-2, 1e-2),
    "memory-efficient-fp16": Precision(("--memory-efficient-fp16",), 1e-3, 1e-2, 1e-2),
    "bf16": Precision(("--bf16",), 5e-3, 5e-2, 3e-2),
    "amp": Precision(("--amp",), 1e-3, 1e-2, 1e-2),
}
# What the criterion logs of a term; the first has its name from the task.
TERMS = {
    "loss": ("loss",),
    "task": ("task_loss", "nll_loss"),
    "hidden": ("hidden_loss",),
    "attention": ("attention_loss",),
    "output": ("output_loss",),
}
NOT_ON_A_CPU = "not on a CPU"
# The batches of an architecture.
SHORT, LONG = 0, 1


def main() -> int:
    """The command line; returns the exit status."""
    args = _parse()
    machine = describe_machine()
    rows: list[dict[str, Any]] = []
    with KeptProcess() as process:
        for precision in PRECISIONS:
            for architecture in ARCHITECTURES:
                progress(f"{architecture}, {precision}")
                row = {"architecture": architecture, "precision": precision}
                row |= _measure(process, architecture, precision, SMOKE if args.smoke else FULL)
                rows.append(row)
                write_lines(args.csv, [row | machine for row in rows])
    progress("")
    print_lines([{key: _text(value) for key, value in row.items()} for row in rows])
    print(f"written to {args.csv}")
    return 0 if all(row["status"] in ("ok", NOT_ON_A_CPU) for row in rows) else 1


def precision_flags(precision: str) -> list[str]:
    """Of fairseq-train; on a CPU it has no fp16 with flat gradients."""
    flags = list(PRECISIONS[precision].flags)
    if precision == "fp16" and not torch.cuda.is_available():
        flags.append("--fp16-no-flatten-grads")
    return flags


def _measure(process: KeptProcess, *arguments: Any) -> dict[str, Any]:
    # torch.cuda.amp switches itself off without a GPU: it would be fp32 under another name.
    if arguments[1] == "amp" and not torch.cuda.is_available():
        return {"status": NOT_ON_A_CPU}
    try:
        return process.run(compare, *arguments)  # type: ignore[no-any-return]
    except ProcessFailed as problem:
        return {"status": str(problem)}


def compare(architecture: str, precision: str, size: Size) -> dict[str, Any]:
    """The row of one architecture and precision."""
    start = time.perf_counter()
    updates = []
    deviations = dict.fromkeys((*TERMS, "gradient"), 0.0)
    for batch in (SHORT, LONG):
        ours, plain = (
            update(architecture, size, precision_flags(precision), form, batch)
            for form in (nullcontext, plain_forms)
        )
        found = {t: abs(ours.terms[t] - plain.terms[t]) / abs(plain.terms[t]) for t in TERMS}
        found["gradient"] = float((ours.gradient - plain.gradient).norm() / plain.gradient.norm())
        deviations = {key: max(deviations[key], value) for key, value in found.items()}
        updates.append(ours)
    limits = PRECISIONS[precision]
    close = all(value <= limits.limit(key) for key, value in deviations.items())
    return {
        "status": "ok" if close else "deviates",
        "seconds": time.perf_counter() - start,
        "overflows": sum(ours.overflows for ours in updates),
        **{term: sum(ours.terms[term] for ours in updates) for term in TERMS},
        **{f"{key}_deviation": value for key, value in deviations.items()},
    }


@dataclass
class Update:
    """Terms of the batch, the gradient of all parameters, tries that overflowed."""

    terms: dict[str, float]
    gradient: torch.Tensor
    overflows: int


def update(architecture: str, size: Size, flags: list[str], form: Any, batch: int) -> Update:
    """One update of fairseq's trainer within ``form()``, on the SHORT or the LONG batch.

    Raises:
        RuntimeError: a term, the gradient or a parameter is not finite, or a term is 0; or every
            try overflowed, or memory ran out.
    """
    trainer, batches = ARCHITECTURES[architecture](architecture, size, flags)
    with form(), _watched(trainer) as (logs, gradients):
        for _ in range(MOST_OVERFLOWS):
            trainer.train_step([batches[batch]], raise_oom=True)
            if trainer.get_num_updates():
                break
        else:
            raise RuntimeError(f"{MOST_OVERFLOWS} updates one after the other have overflowed")
    terms = {}
    for term, names in TERMS.items():
        # --amp tries again by itself: the last one is that of the update.
        terms[term] = sum(float(logs[-1][name]) for name in names if name in logs[-1])
        if not (math.isfinite(terms[term]) and terms[term] > 0):
            raise RuntimeError(f"the {term} term is {terms[term]}")
    if not gradients[-1].isfinite().all() or not gradients[-1].any():
        raise RuntimeError("the gradient is 0 or not finite")
    if not all(parameter.isfinite().all() for parameter in trainer.model.parameters()):
        raise RuntimeError("after the update a parameter is not finite")
    return Update(terms, gradients[-1], len(logs) - 1)


@contextmanager
def _watched(trainer: Any) -> Iterator[tuple[list[Any], list[torch.Tensor]]]:
    """What the criterion logs, and the gradients that the optimizer takes its steps with."""
    logs: list[Any] = []
    gradients: list[torch.Tensor] = []
    optimizer, step = trainer.optimizer, trainer.optimizer.step

    def watched_step(*args: Any, **options: Any) -> None:
        # What fairseq's optimizers for half precision have yet to multiply with.
        factor = float(getattr(optimizer, "_multiply_factor", 1.0))
        found = [p.grad.float() for p in trainer.model.parameters() if p.grad is not None]
        gradients.append(torch.cat([gradient.flatten() for gradient in found]) * factor)
        step(*args, **options)

    handle = trainer.criterion.register_forward_hook(
        lambda _module, _inputs, output: logs.append(output[2])
    )
    with mock.patch.object(optimizer, "step", watched_step):
        yield logs, gradients
    handle.remove()


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="tiny models: only to see it run")
    parser.add_argument("--csv", type=output_file, default="build/benchmarks/precisions.csv")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
