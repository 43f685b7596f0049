"""A small BART of random numbers, in the format of the public checkpoints.

    make_bart.py --data DIR --output model.pt --encoder-layers 2 ...

The sizes are fairseq-train's options; what is not given is as in bart.base.

It stands for a pretrained model where the way is to be seen, not the result. fairseq draws BART's
weights with a standard deviation of 0.02, which suits bart.large's width of 1,024; in a model as
narrow as this one, nothing would come through the attention for a long time. So here they are drawn
for their own width (Glorot and Bengio, 2010).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from fairseq.models import ARCH_CONFIG_REGISTRY
from fairseq.models.bart import BARTModel
from fairseq.tasks.translation import TranslationConfig, TranslationTask


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, argument_default=argparse.SUPPRESS)
    parser.add_argument("--data", required=True, help="made by prepare_cnn_dm.sh")
    parser.add_argument("--output", type=Path, required=True)
    BARTModel.add_args(parser)
    args = parser.parse_args()
    data, output = args.data, args.output
    del args.data, args.output
    args.arch, args.task = "bart_base", "translation"
    ARCH_CONFIG_REGISTRY["bart_base"](args)
    torch.manual_seed(1)
    config = TranslationConfig(data=data, source_lang="source", target_lang="target")
    model = BARTModel.build_model(args, TranslationTask.setup_task(config))
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.xavier_uniform_(module.weight)
    torch.nn.init.normal_(model.encoder.embed_tokens.weight, std=args.encoder_embed_dim**-0.5)
    # The entries of a public file; fine-tuning reads the arguments and the model alone.
    history = {"criterion_name": "CrossEntropyCriterion", "best_loss": None, "num_updates": 0}
    state = {
        "args": args,
        "model": model.state_dict(),
        "optimizer_history": [{**history, "optimizer_name": "FairseqAdam"}],
        "extra_state": {"train_iterator": {"epoch": 0, "iterations_in_epoch": 0}},
        "last_optimizer_state": None,
    }
    partial = output.with_suffix(".part")
    torch.save(state, partial)
    os.replace(partial, output)


if __name__ == "__main__":
    main()
