"""An encoder of the same sizes and pieces as an imported one, with random parameters.

    python -m examples.study.sentences.random_encoder ENCODER OUT --seed N

As BERT's begin: matrices and embeddings normal with a standard deviation of 0.02, the embedding of
padding and biases 0, gains of the layer norms 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

import torch

DEVIATION = 0.02
PADDING = 1  # in every dictionary of fairseq


def reset(state: dict[str, torch.Tensor], seed: int) -> None:
    """Draw all parameters of a model anew, in place; those that share their memory still do."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in state.items():
        if name.endswith(".bias"):
            value.zero_()
        elif value.dim() > 1:
            value.normal_(0.0, DEVIATION, generator=generator)
        elif name.endswith(".weight"):
            value.fill_(1.0)
    for name, value in state.items():
        if name.endswith(("embed_tokens.weight", "embed_positions.weight")):
            value[PADDING].zero_()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    # Plain values alone, which torch loads with nothing allowed.
    checkpoint: dict[str, Any] = torch.load(options.encoder / "model.pt", weights_only=True)
    reset(checkpoint["model"], options.seed)
    aside = options.out.with_name(f"{options.out.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(options.encoder, aside, ignore=shutil.ignore_patterns("model.pt"))
    torch.save(checkpoint, aside / "model.pt")
    os.replace(aside, options.out)


if __name__ == "__main__":
    main()
