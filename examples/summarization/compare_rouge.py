"""Compares systems by a paired bootstrap over the documents of a test set. Used by compare.sh.

Koehn, "Statistical significance tests for machine translation evaluation" (EMNLP 2004): test sets
of the same size are drawn from the test set, with replacement, and both systems are scored on each.
The 95 % interval is that of the differences on them. The p-value is two-sided: how often a drawn
difference, less the mean of all drawn ones, is as large in absolute value as the one observed
(Riezler and Maxwell, 2005). sacreBLEU, which takes absolute values first, counts one tail of them.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from examples.summarization import rouge
from scripts.corpora.prepare_text import TextError
from scripts.runs.complete_files import say

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """Another system less the baseline, one number per metric, on the scale of the scores."""

    mean: Array
    low: Array  # of the 95 % interval
    high: Array
    p_value: Array


def resampled_means(scores: Array, resamples: int, seed: int) -> Array:
    """Means over drawn test sets: resamples x metrics, from documents x metrics.

    The same seed draws the same test sets, whatever the scores: that makes the test a paired one.
    """
    documents = len(scores)
    rng = np.random.default_rng(seed)
    means = []
    # How often each document is drawn is all that a mean needs. In parts, to bound the memory.
    for start in range(0, resamples, 500):
        size = min(500, resamples - start)
        counts = rng.multinomial(documents, np.full(documents, 1 / documents), size=size)
        means.append(counts @ scores / documents)
    return np.concatenate(means)


def compare(baseline: Array, system: Array, resamples: int, seed: int) -> Difference:
    """The difference of two systems' scores, documents x metrics each."""
    observed = (system - baseline).mean(axis=0)
    drawn = resampled_means(system - baseline, resamples, seed)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    as_large = np.abs(drawn - drawn.mean(axis=0)) >= np.abs(observed)
    return Difference(observed, low, high, (as_large.sum(axis=0) + 1) / (resamples + 1))


def table(
    names: list[str], scores: list[Array], resamples: int, seed: int, settings: dict[str, str]
) -> str:
    """F1 of each system, and its difference from the first one, times 100; how it is computed."""
    width = max(map(len, names)) + 2
    differences = [compare(scores[0], system, resamples, seed) for system in scores[1:]]
    lines = []
    for metric, title in enumerate(rouge.METRICS.values()):
        lines.append(f"{title:{width}}{'F1':>7}{'difference':>12}{'95 % interval':>18}{'p':>8}")
        for name, system, difference in zip(names, scores, [None, *differences]):
            line = f"{name:{width}}{100 * system[:, metric].mean():7.2f}"
            if difference:
                mean, low, high = (
                    100 * values[metric]
                    for values in (difference.mean, difference.low, difference.high)
                )
                interval = f"[{low:+.2f}, {high:+.2f}]"
                line += f"{mean:+12.2f}{interval:>18}{difference.p_value[metric]:8.3f}"
            lines.append(line)
        lines.append("")
    lines.append(
        f"{len(scores[0])} documents; paired bootstrap (Koehn 2004) against {names[0]}: "
        f"{resamples} resamples, seed {seed}; two-sided p"
    )
    lines.append(", ".join(f"{key} {value}" for key, value in settings.items()))
    return "\n".join(lines)


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--resamples", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("hypotheses", type=Path, nargs="+")
    options = parser.parse_args()
    try:
        references = rouge.read_references(options.reference)
        if not references:
            raise TextError(f"{options.reference} is empty")
        # All are read before one is scored: a wrong file is found at once.
        systems = [rouge.read_hypotheses(path, len(references)) for path in options.hypotheses]
    except TextError as error:
        print(f"compare.sh: error: {error}", file=sys.stderr)
        return 1
    f1 = [rouge.score(system, references)[:, :, 2] for system in systems]
    names, settings = list(map(str, options.hypotheses)), rouge.settings(references)
    say(table(names, f1, options.resamples, options.seed, settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
