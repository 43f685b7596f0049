"""The output terms without logits of all tokens: the numbers of ``output_terms``, far less traffic.

Per chunk of tokens, the logits of both passes (or of one), the losses *and* the gradients of the
features and of the output projection are computed, then the buffers are used again. No tensor of
2N x V ever exists, and the backward only multiplies by the incoming gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lrdrop_fairseq.losses.float_product import in_half_precision, tensor_cores
from lrdrop_fairseq.losses.output import OutputTerms
from lrdrop_fairseq.losses.output_chunk import ChunkBuffers, chunk_terms


def chunked_output_terms(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    label_smoothing: float,
    kl_weight: float,
    count_correct: bool = False,
) -> OutputTerms:
    """Same terms as :func:`lrdrop_fairseq.losses.output.output_terms`, from features.

    Logits are computed in the dtype of ``features``, everything after them in float32 (float64
    for float64), the gradients included: they precede the loss scale of fp16 training. (On a GPU
    half precision's gradients are multiplied as TF32, see ``tensor_cores``.)

    Args:
        features: N x P x C, the decoder's features of the non-padding tokens in pass 1 and 2, or
            in one pass alone, whose ``kl_weight`` must be 0.
        weight: V x C, the output projection.
        bias: V, or None.
        target: N.
        label_smoothing: epsilon.
        kl_weight: gamma.
        count_correct: also count the correct predictions.
    """
    apply: Any = _ChunkedOutputTerms.apply
    options = (label_smoothing, kl_weight, count_correct)
    return OutputTerms(*apply(features, weight, bias, target, *options))


class _ChunkedOutputTerms(torch.autograd.Function):
    """How the chunks are run; what is computed on one of them is :func:`chunk_terms`."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        label_smoothing: float,
        kl_weight: float,
        count_correct: bool,
    ) -> tuple[Tensor, ...]:
        (n_tokens, passes, _), vocabulary = features.shape, weight.size(0)
        buffers = ChunkBuffers(features, vocabulary)
        gradients = _Gradients(features, weight, bias, buffers.dtype, ctx.needs_input_grad)
        projection = weight.to(features.dtype)
        totals = features.new_zeros(3, dtype=buffers.dtype)
        correct = features.new_zeros((), dtype=buffers.dtype)
        half = in_half_precision(features, weight)
        with torch.autocast(features.device.type, enabled=False), tensor_cores(half):
            for start in range(0, n_tokens, buffers.rows):
                chunk = slice(start, min(start + buffers.rows, n_tokens))
                buffers.project(features[chunk], projection, bias)
                if count_correct:
                    predicted = buffers.logits[: chunk.stop - start].argmax(dim=-1)
                    correct += predicted.eq(target[chunk].unsqueeze(-1)).sum()
                sums, gradient, factor = chunk_terms(
                    buffers, target[chunk], label_smoothing, kl_weight
                )
                totals += sums
                gradients.add(chunk, gradient, factor)
            gradients.add_to_all_logits(-label_smoothing / (vocabulary - 1) / passes)
        ctx.gradients = (gradients.features, gradients.weight, gradients.bias)
        ctx.dtypes = [None if x is None else x.dtype for x in (features, weight, bias)]
        smoothed, nll, divergence = totals.unbind()
        objective = smoothed / passes + kl_weight * divergence
        outputs = (objective, nll / passes, divergence.clone(), correct / passes)
        ctx.mark_non_differentiable(*outputs[1:])
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError(
                "a second backward through the chunked output loss: its gradients were computed "
                "in the forward and given away in the first one (retain_graph is not supported)"
            )
        # In place: a copy for the vocabulary, while all activations are there, would be the peak.
        gradients, ctx.gradients = ctx.gradients, None
        scaled = (
            None if gradient is None else gradient.mul_(grad).to(dtype)
            for gradient, dtype in zip(gradients, ctx.dtypes)
        )
        return (*scaled, None, None, None, None)


class _Gradients:
    """Gradients of the objective with respect to features, weight and bias, where asked for."""

    def __init__(
        self,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        dtype: torch.dtype,
        needed: tuple[bool, ...],
    ) -> None:
        self._features, self._weight = features.detach().to(dtype), weight.detach().to(dtype)
        self.features = torch.empty_like(self._features) if needed[0] else None
        self.weight = torch.zeros_like(self._weight) if needed[1] else None
        self.bias = torch.zeros_like(bias, dtype=dtype) if bias is not None and needed[2] else None

    def add(self, chunk: slice, logits: Tensor, factor: float) -> None:
        """Add what the gradient ``factor * logits`` (n x P x V) of a chunk's logits brings."""
        logits = logits.view(-1, logits.size(-1))
        if self.features is not None:
            out = self.features[chunk].view(logits.size(0), -1)
            torch.mm(logits, self._weight, out=out).mul_(factor)
        if self.weight is not None:
            flat = self._features[chunk].reshape(logits.size(0), -1)
            self.weight.addmm_(logits.t(), flat, alpha=factor)
        if self.bias is not None:
            self.bias.add_(logits.sum(dim=0), alpha=factor)

    def add_to_all_logits(self, value: float) -> None:
        """Add what a gradient of ``value`` for each single logit brings: no sweep over logits."""
        if value == 0.0:
            return
        if self.features is not None:
            self.features.add_(self._weight.sum(dim=0), alpha=value)
        if self.weight is not None:
            self.weight.add_(self._features.sum(dim=(0, 1)), alpha=value)
        if self.bias is not None:
            self.bias.add_(value * self._features.size(0) * self._features.size(1))
