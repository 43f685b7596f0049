"""Writes a small RoBERTa with random weights, in the format of the public checkpoints.

    small_model.py DICTIONARY OUTPUT

The public files of 2019 hold an argparse.Namespace, call the encoder "decoder", and keep queries,
keys and values of the attention in one matrix.  So what loads this file loads those.
"""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from pathlib import Path

import torch
from fairseq.data import Dictionary
from fairseq.models.roberta.model import RobertaEncoder, base_architecture

SIZES = dict(
    encoder_layers=2,
    encoder_embed_dim=32,
    encoder_ffn_embed_dim=64,
    encoder_attention_heads=2,
    max_positions=64,
)


def old_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Parameters of an encoder under the names that the public files have."""
    old: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        name = f"decoder.{name}".replace(".layernorm_embedding.", ".emb_layer_norm.")
        old[name] = value
    for name in [name for name in old if ".self_attn.q_proj." in name]:
        parts = [old.pop(re.sub("q_proj", f"{part}_proj", name)) for part in "qkv"]
        old[name.replace("q_proj.", "in_proj_")] = torch.cat(parts)
    return old


def make_checkpoint(dictionary: Path) -> dict[str, object]:
    """What torch.save writes."""
    words = Dictionary.load(str(dictionary))
    words.add_symbol("<mask>")
    arguments = Namespace(arch="roberta_base", task="masked_lm", criterion="masked_lm", **SIZES)
    base_architecture(arguments)
    torch.manual_seed(1)
    encoder = RobertaEncoder(arguments, words)
    return {
        "args": arguments,
        "model": old_names(encoder.state_dict()),
        "optimizer_history": [
            {
                "criterion_name": "MaskedLmLoss",
                "optimizer_name": "FairseqAdam",
                "lr_scheduler_state": {},
                "num_updates": 1,
            }
        ],
        "extra_state": {"train_iterator": {"epoch": 1}, "val_loss": 1.0},
        "last_optimizer_state": None,
    }


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    output = Path(arguments[1])
    aside = output.with_name(f"{output.name}.part")
    torch.save(make_checkpoint(Path(arguments[0])), aside)
    os.replace(aside, output)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
