"""The two siamese passes as one forward on ``[x; x]``.

Letters used in the whole package: B sentences, T target (query) positions, S source (key)
positions, C features, H heads, D features of one head, V vocabulary, N non-padding target tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lrdrop_fairseq.compat.refusals import Refused


def duplicate(sample: dict[str, Any], in_turn: bool = False) -> dict[str, Any]:
    """Return a new sample whose model input holds the batch twice along the batch axis.

    Rows ``0..B-1`` of every tensor in ``sample["net_input"]`` become pass 1 and rows ``B..2B-1``
    pass 2. Everything else (``target``, ``ntokens``, ...) is shared with ``sample``, which is
    never changed: fairseq reuses it for dummy batches, and targets are needed once.

    Args:
        in_turn: rows ``0, 2, ...`` become pass 1 and ``1, 3, ...`` pass 2, so that sentences
            sorted by length stay so: ``[x1; x1; x2; x2; ...]``.

    Raises:
        ValueError: ``net_input`` holds something that cannot be duplicated: a tensor without
            the batch axis in front, or a list or dictionary.
    """
    batch_size = sample["target"].size(0)
    net_input = {}
    for name, value in sample["net_input"].items():
        if isinstance(value, Tensor):
            if value.dim() == 0 or value.size(0) != batch_size:
                raise Refused(
                    f"LR-Drop cannot duplicate net_input[{name!r}] of shape {tuple(value.shape)}: "
                    f"its first axis must be the batch ({batch_size} sentences)"
                )
            value = value.repeat_interleave(2, 0) if in_turn else torch.cat([value, value], dim=0)
        elif isinstance(value, (list, tuple, dict)):
            raise Refused(
                f"LR-Drop cannot duplicate net_input[{name!r}]: a {type(value).__name__}, not a "
                "tensor with the batch in front"
            )
        net_input[name] = value
    return {**sample, "net_input": net_input}


def decoder_input(net_input: dict[str, Any]) -> Tensor:
    """The tokens that the decoder reads, B x T; those of a language model are its source."""
    name = "prev_output_tokens" if "prev_output_tokens" in net_input else "src_tokens"
    tokens: Tensor = net_input[name]
    return tokens


def halves(tensor: Tensor, dim: int = 0, in_turn: bool = False) -> tuple[Tensor, Tensor]:
    """Split a tensor of a duplicated batch into (pass 1, pass 2) along its batch axis ``dim``.

    Args:
        in_turn: as the batch was duplicated.

    Raises:
        ValueError: the axis has an odd length, so the tensor is not from a duplicated batch.
    """
    size = tensor.size(dim)
    if size % 2:
        raise ValueError(f"axis {dim} of length {size} does not hold two equal passes")
    if in_turn:
        first, second = tensor.unflatten(dim, (-1, 2)).unbind(dim + 1)  # type: ignore[no-untyped-call]
        return first, second
    # chunk: its backward joins both gradients in one go; two slices would fill with zeros and add.
    first, second = tensor.chunk(2, dim)
    return first, second
