"""What would fail in the first siamese step is found, or explained, as early as it can be."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.criterions.schedule import UpdateCounter


@contextmanager
def rehearsal(model: nn.Module) -> Iterator[None]:
    """In the block ``model`` runs as in training, without gradients; it is left as it was.

    So are the random numbers, on the model's device too: what trains then is the same training.
    """
    tensors = [*model.parameters(), *model.buffers()]
    before = [tensor.detach().clone() for tensor in tensors]  # quantization noise changes weights
    devices = {tensor.device for tensor in tensors if tensor.is_cuda}
    training = model.training
    with torch.no_grad(), torch.random.fork_rng(devices):
        model.train()
        try:
            yield
        finally:
            model.train(training)
            for tensor, value in zip(tensors, before):
                tensor.copy_(value)


def explain_full_memory(task: Any, counter: UpdateCounter, start: int) -> None:
    """Refuse what a GPU has no memory for once the terms act.

    fairseq leaves out a batch that does not fit, with a warning. A training that fits until the
    terms start, and not with the two passes from there on, would leave out all of them and never
    come to its last update.

    Args:
        task: whose ``train_step`` is to raise :class:`Refused` where memory is full in the first
            update with terms. Later, fairseq may do as it does.
        counter: of finished updates; one that is skipped does not count.
        start: the updates before the terms act.
    """
    original = task.train_step

    @functools.wraps(original)
    def train_step(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except RuntimeError as error:
            if "out of memory" in str(error) and counter.read() == start:
                raise Refused(
                    "no memory is left for the first update in which LR-Drop's terms act: it holds "
                    "every sentence twice, and the updates before hold it once. Give half of "
                    "--max-tokens or --batch-size, and twice --update-freq, which is the same "
                    "batch; the training goes on from its last checkpoint, and the crash.pt that "
                    f"fairseq leaves is of no use ({error})"
                ) from error
            raise

    task.train_step = train_step
