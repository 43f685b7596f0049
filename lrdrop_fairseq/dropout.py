"""fairseq's dropout for the two passes on a CPU: fewer random bits, a smaller mask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from fairseq.modules import FairseqDropout
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lrdrop_fairseq.compat.refusals import Refused


def check_probabilities(model: nn.Module) -> None:
    """Raise ValueError if a dropout of the model is none: fairseq takes -1 and nan for 0.

    Everything dropped (1) is refused too, but for LayerDrop, which leaves the other layers.
    """
    for name, module in model.named_modules():
        if isinstance(module, (FairseqDropout, nn.Dropout)) and not 0 <= module.p < 1:
            raise Refused(
                f"{name or 'the model'} has a dropout of {module.p}: it must be at least 0 and "
                "less than 1. See --dropout, --attention-dropout, --activation-dropout and the "
                "other dropout options of this architecture"
            )
        for stack in ("encoder", "decoder"):
            layerdrop = getattr(module, f"{stack}_layerdrop", 0.0)
            if isinstance(layerdrop, float) and not 0 <= layerdrop <= 1:
                raise Refused(f"--{stack}-layerdrop is {layerdrop}: it must be from 0 to 1")


class LeanDropout(FairseqDropout):
    """``FairseqDropout`` that, while ``lean`` is on, does on a CPU what torch does on a GPU.

    torch's dropout on a CPU draws its numbers several times more slowly than it can draw random
    bits, which is a tenth of a step of LR-Drop, and keeps a mask of floats for the backward.
    Here the bits are compared with the probability, and one byte per number is kept. While
    ``lean`` is off it *is* fairseq's module: same numbers from the same seed.
    """

    lean = False

    @classmethod
    def adopt(cls, dropout: FairseqDropout) -> None:
        """Turn an existing module into a ``LeanDropout``, in place."""
        dropout.__class__ = cls

    def forward(self, x: Tensor, inplace: bool = False) -> Tensor:
        """See fairseq."""
        dropping = self.training or self.apply_during_inference
        if self.lean and dropping and 0 < self.p < 1 and x.device.type == "cpu":
            apply: Any = _LeanDropout.apply
            return apply(x, self.p)  # type: ignore[no-any-return]
        return super().forward(x, inplace)  # type: ignore[no-any-return]


@contextmanager
def lean_dropout(model: nn.Module) -> Iterator[None]:
    """A block in which every ``LeanDropout`` of a model is lean."""
    modules = [(m, m.lean) for m in model.modules() if isinstance(m, LeanDropout)]
    try:
        for module, _ in modules:
            module.lean = True
        yield
    finally:
        for module, before in modules:
            module.lean = before


class _LeanDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        kept = keep_mask(x, p)
        ctx.save_for_backward(kept)
        ctx.p = p
        return _drop(x, kept, p)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return _drop(grad, kept, ctx.p), None


def _drop(x: Tensor, kept: Tensor, p: float) -> Tensor:
    # A product of numbers and booleans is slow on a CPU, the conversion is not.
    return kept.to(x.dtype).mul_(1.0 / (1.0 - p)).mul_(x)


def keep_mask(x: Tensor, p: float) -> Tensor:
    """True with probability 1 - p (to 32 bits), in the shape of ``x``."""
    bits = torch.empty((x.numel() + 1) // 2, dtype=torch.int64)
    # 64 random bits each, read as two numbers of 32.
    bits.random_(-(2**63), None)
    numbers = bits.view(torch.int32)[: x.numel()].view(x.shape)
    return numbers >= round(p * 2**32) - 2**31
