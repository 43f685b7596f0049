"""Matrix products in float32 of a model in half precision, at the speed of half precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@contextmanager
def tensor_cores(allowed: bool) -> Iterator[None]:
    """Let float32 products inside the block run on a GPU's tensor cores, as TF32, if allowed.

    It is where the model is in half precision: TF32 has the range of float32 and the ten bits of
    float16, three more than bfloat16. It holds what such a model computed exactly, sums in float32,
    and rounds gradients as the model's own products round them. Where it is not, products are left
    as the user has set torch up. On a CPU nothing changes.
    """
    matmul = torch.backends.cuda.matmul
    # Since torch 2.9 both settings exist, and reading the older one fails where the newer one alone
    # was set: to tf32, or there would be no difference between the two.
    newer = getattr(matmul, "fp32_precision", None)
    if not allowed or newer == "tf32" or matmul.allow_tf32:
        yield
        return
    matmul.allow_tf32 = True
    try:
        yield
    finally:
        matmul.allow_tf32 = False
        if newer is not None:
            matmul.fp32_precision = newer


def in_half_precision(*tensors: Tensor) -> bool:
    """Whether a model that computes with these is in half precision, by itself or by autocast."""
    return any(x.dtype in (torch.float16, torch.bfloat16) for x in tensors) or (
        torch.is_autocast_enabled(tensors[0].device.type)
    )


def float_product(left: Tensor, right: Tensor, scale: float = 1.0) -> Tensor:
    """``scale * left @ right``, computed in float32 (float64 for float64), autocast or not.

    In half precision on a GPU, ``scale * left`` keeps ten bits, as fairseq's own queries do.

    Args:
        left: ... x N x K.
        right: ... x K x M.

    Returns:
        ... x N x M in float32 or float64. The gradients are computed likewise, and then rounded to
        the dtypes of ``left`` and ``right``, which alone are kept for the backward.
    """
    apply: Any = _FloatProduct.apply
    return apply(left, right, scale)  # type: ignore[no-any-return]


class _FloatProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(left, right)
        ctx.scale, ctx.half = scale, in_half_precision(left, right)
        dtype = torch.float64 if left.dtype == torch.float64 else torch.float32
        with torch.autocast(left.device.type, enabled=False), tensor_cores(ctx.half):
            return torch.matmul(left.to(dtype) * scale, right.to(dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        left, right = ctx.saved_tensors
        to_left = to_right = None
        with torch.autocast(grad.device.type, enabled=False), tensor_cores(ctx.half):
            if ctx.needs_input_grad[0]:
                product = torch.matmul(grad, right.to(grad.dtype).transpose(-1, -2))
                to_left = product.mul_(ctx.scale).to(left.dtype)
            if ctx.needs_input_grad[1]:
                product = torch.matmul(left.to(grad.dtype).transpose(-1, -2), grad)
                to_right = product.mul_(ctx.scale).to(right.dtype)
        return to_left, to_right, None
