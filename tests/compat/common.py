"""What the tests of the repairs share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

TRAIN = (
    "--task translation --source-lang de --target-lang en --arch transformer --encoder-layers 1 "
    "--decoder-layers 1 --encoder-embed-dim 8 --decoder-embed-dim 8 --encoder-ffn-embed-dim 8 "
    "--decoder-ffn-embed-dim 8 --encoder-attention-heads 2 --decoder-attention-heads 2 "
    "--criterion label_smoothed_cross_entropy --optimizer adam --lr 1e-3 --max-tokens 80 "
    "--max-update 2 --num-workers 0 --eval-bleu --best-checkpoint-metric bleu --cpu"
).split()


@contextlib.contextmanager
def torchs_own_list() -> Iterator[None]:
    """torch's allow-list as it is when nothing has been added to it."""
    ours = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(ours)


def without(repaired: Any) -> Any:
    """The function of fairseq that a repair has replaced."""
    return repaired.__wrapped__
