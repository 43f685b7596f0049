"""Time and memory of one layer's attention term by sequence length: dense against blockwise.

    python -m benchmarks.attention_layer [--length 256 ...] [--longest 16]

One Transformer layer of BART-large's size (d 1024, FFN 4096, 16 heads) on one sentence in two
passes: forward, attention term, backward. Every measurement is a process of its own. ``--longest
GIB`` also looks for the longest sentence whose step stays below that much memory.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import torch
from fairseq.models.transformer import TransformerConfig
from fairseq.modules.transformer_layer import TransformerEncoderLayerBase
from tabulate import tabulate

from benchmarks.machine import describe_machine, peak_bytes, resident_bytes
from benchmarks.tables import write_lines
from lrdrop_fairseq import attention
from lrdrop_fairseq.attention import ExposedAttention, Listener
from lrdrop_fairseq.layer_states import LayerStates
from lrdrop_fairseq.layer_terms import attention_distance, attention_term

# name: the largest map that is formed
FORMS = {"dense": float("inf"), "blockwise": 0}


@dataclass
class Measured:
    form: str
    length: int
    seconds: float
    peak: int


def main() -> None:
    args = _parse()
    machine = describe_machine()
    print(" ".join(f"{key}: {value}." for key, value in machine.items()))
    results = [measure(form, length, args.repeat) for length in args.length for form in FORMS]
    _print(results)
    if args.longest:
        for form in FORMS:
            results.append(find_longest(form, args.longest * 2**30, args.most))
            _print(results[-1:])
    lines = [{"form": r.form, "length": r.length, "seconds": r.seconds, "peak_bytes": r.peak}
             for r in results]  # fmt: skip
    write_lines(args.csv, [line | machine for line in lines])
    print(f"written to {args.csv}")


def measure(form: str, length: int, repeat: int) -> Measured:
    """Median seconds and peak bytes of a step, in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_here, (form, length, repeat))


def find_longest(form: str, limit: float, most: int) -> Measured:
    """The longest multiple of 256 (at most ``most``) whose step stays below ``limit`` bytes."""
    low, high = 1, most // 256
    best = measure(form, 256 * high, 1)
    if best.peak <= limit:
        return best
    while high - low > 1:
        middle = (low + high) // 2
        tried = measure(form, 256 * middle, 1)
        if tried.peak <= limit:
            low, best = middle, tried
        else:
            high = middle
    return best


def _measure_here(form: str, length: int, repeat: int) -> Measured:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(1)
    config = TransformerConfig(dropout=0.1)
    config.encoder.embed_dim, config.encoder.ffn_embed_dim = 1024, 4096
    config.encoder.attention_heads = 16
    before = resident_bytes("VmRSS")
    layer = TransformerEncoderLayerBase(config).to(device)
    ExposedAttention.adopt(layer.self_attn)
    inputs = torch.randn(length, 2, 1024, device=device, requires_grad=True)
    padding = torch.zeros(1, length, dtype=torch.bool, device=device)

    def step() -> float:
        start = time.perf_counter()
        states = LayerStates()
        layer.self_attn.listener = Listener(attention_distance, states.encoder_self_attention)
        with mock.patch.object(attention, "LARGEST_MAP", FORMS[form]):
            output = layer(inputs, None)
        loss = output.square().mean() + attention_term(states, padding, padding)
        loss.backward()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    seconds = [step() for _ in range(repeat + 1)]
    # The first one warms up, where there is another.
    return Measured(form, length, statistics.median(seconds[1:] or seconds), peak_bytes(before))


def _print(results: list[Measured]) -> None:
    lines = [
        {"form": r.form, "T": r.length, "seconds": f"{r.seconds:.3f}",
         "peak GiB": f"{r.peak / 2**30:.2f}"}
        for r in results
    ]  # fmt: skip
    print("\n" + tabulate(lines, headers="keys", tablefmt="github", disable_numparse=True))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--length", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096])
    parser.add_argument("--repeat", type=int, default=5, help="steps that are counted")
    parser.add_argument("--longest", type=float, metavar="GIB", help="memory of the longest one")
    parser.add_argument("--most", type=int, default=16384, help="no longer than this")
    parser.add_argument("--csv", type=Path, default=Path("build/benchmarks/attention_layer.csv"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
