"""Draws the demo's curves: OUTPUT/validation.png and OUTPUT/lrdrop_terms.png.

plots.py OUTPUT
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt

matplotlib.use("Agg")  # files only, so that no display is needed

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from examples.figures import save  # noqa: E402
from examples.translation.demo.report import SYSTEMS  # noqa: E402
from examples.translation.records.training_log import TERMS, LogError, TrainingLog, read_log  # noqa: E402

# Colours of Okabe and Ito, told apart with every kind of colour vision; the markers differ too.
STYLES = {"plain": ("#0072B2", "o", "-"), "LR-Drop": ("#D55E00", "s", "--")}
TERM_LABELS = {
    "hidden_loss": "hidden states (HSR)\nmean squared difference",
    "attention_loss": "attention (MHAR)\nmean squared difference",
    "output_loss": "output (OR)\nsymmetric KL divergence [bits]",
}


def validation_figure(logs: dict[str, TrainingLog]) -> Figure:
    """Validation loss of every system by updates, and where the terms of LR-Drop begin."""
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    for name, log in logs.items():
        colour, marker, line = STYLES[name]
        updates = sorted(log.validation)
        values = [log.validation[update] for update in updates]
        axes.plot(updates, values, line, color=colour, marker=marker, markersize=5, label=name)
    start = min(logs["LR-Drop"].terms[TERMS[0]])
    axes.axvline(start, color="grey", linestyle=":", label="LR-Drop's terms begin")
    axes.set_xlabel("updates")
    axes.set_ylabel("validation nll_loss [bits per token]")
    perplexity = axes.secondary_yaxis("right", functions=(_perplexity, _bits))
    perplexity.set_ylabel("perplexity")
    low, high = axes.get_ylim()
    powers = [2**bits for bits in range(math.ceil(low), math.floor(high) + 1)]
    perplexity.set_yticks(powers, [str(power) for power in powers])
    perplexity.minorticks_off()
    axes.set_title("Validation set, one plain pass")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _perplexity(bits: npt.ArrayLike) -> npt.ArrayLike:
    perplexity: npt.ArrayLike = np.exp2(np.asarray(bits))
    return perplexity


def _bits(perplexity: npt.ArrayLike) -> npt.ArrayLike:
    # matplotlib asks for values below the axis too
    bits: npt.ArrayLike = np.log2(np.maximum(np.asarray(perplexity), 1e-9))
    return bits


def terms_figure(log: TrainingLog) -> Figure:
    """The three LR-Drop terms in training by updates; their scales differ, so one panel each."""
    figure, panels = plt.subplots(1, len(TERMS), figsize=(10.5, 3.4), layout="constrained")
    for axes, term in zip(panels, TERMS):
        curve = log.terms[term]
        updates = sorted(curve)
        axes.plot(updates, [curve[update] for update in updates], color="#009E73")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("updates")
        axes.set_ylabel("per token")
        axes.set_title(TERM_LABELS[term], fontsize=10)
        axes.grid(alpha=0.3)
    figure.suptitle("LR-Drop terms in training, before their weights", fontsize=11)
    return figure


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    output = Path(arguments[0])
    try:
        logs = {name: read_log(output / folder / "train.log") for folder, name in SYSTEMS}
        missing = set(TERMS) - set(logs["LR-Drop"].terms)
        if missing:
            raise LogError(f"{output}/lrdrop/train.log: no {', '.join(missing)} in it")
        save(validation_figure(logs), output / "validation.png")
        save(terms_figure(logs["LR-Drop"]), output / "lrdrop_terms.png")
    except (LogError, OSError) as error:
        print(f"plots.py: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
