"""fairseq's trainer for models and batches that are made here, as its commands set it up."""

from __future__ import annotations

import copy
import functools
from typing import Any

from fairseq import options
from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.trainer import Trainer


def make_config(flags: list[str]) -> FairseqConfig:
    """Of a training with these flags of fairseq-train, task and criterion among them."""
    common = ["data-is-made-here", *"--optimizer adam --lr 1e-4 --lr-scheduler fixed".split()]
    # In this process alone, however many GPUs it sees.
    common += ["--log-format", "none", "--distributed-world-size", "1"]
    return copy.deepcopy(_configuration((*common, *flags)))


@functools.cache  # fairseq takes longer for it than for an update of a small model
def _configuration(flags: tuple[str, ...]) -> FairseqConfig:
    args = options.parse_args_and_arch(options.get_training_parser(), flags)
    return convert_namespace_to_omegaconf(args)


def make_trainer(config: FairseqConfig, task: Any, model: Any, criterion: Any) -> Trainer:
    """fairseq's trainer, except that it leaves the peak memory and the disk alone."""
    trainer = Trainer(config, task, model, criterion)
    # With it, fairseq logs the free memory after each update, and resets torch's peak for that.
    trainer.cuda_env = None
    # When an update fails, fairseq writes the model into the current folder, as crash.pt.
    trainer.save_checkpoint = lambda *_: None
    return trainer
