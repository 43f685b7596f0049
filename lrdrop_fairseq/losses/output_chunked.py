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

# Logits of one chunk, all passes together. Larger buffers leave the cache of a CPU; in smaller
# ones reading the projection and its gradient, once per chunk, takes longer than all else. A GPU
# needs enough rows to fill its cores.
CPU_CHUNK_LOGITS = 1 << 22
GPU_CHUNK_LOGITS = 1 << 26


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
    """How the chunks are run; what is computed on one of them is :func:`_chunk_terms`."""

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
        buffers = _Buffers(features, vocabulary)
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
                sums, gradient, factor = _chunk_terms(
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


def _chunk_terms(
    buffers: _Buffers, target: Tensor, label_smoothing: float, kl_weight: float
) -> tuple[Tensor, Tensor, float]:
    r"""Losses of one chunk of n tokens and the gradient of its logits, all within the buffers.

    With p and q the distributions of the two passes, d = log p - log q and K = KL(p||q), the
    gradient of the objective with respect to the logits of pass 1 is (pass 2 by symmetry)

    .. math:: \tfrac12 \{ p\,[1 + \gamma (1 - K + d)] - \gamma q \}
        - \tfrac12 (1 - \varepsilon - \varepsilon')\,\mathrm{onehot}(t) - \tfrac12 \varepsilon'

    The last summand is the same for all logits and left to ``add_to_all_logits``. Of a single
    pass it is the gradient of its cross entropy, twice that with gamma = 0.

    Returns:
        The sums over the chunk [smoothed nll, nll, symmetric KL], the first two of all passes
        together; the gradient n x P x V divided by ``factor``; and ``factor``.
    """
    n, passes, vocabulary = target.size(0), buffers.passes, buffers.vocabulary
    other = label_smoothing / (vocabulary - 1)
    true = 1.0 - label_smoothing - other
    index = target[:, None, None].expand(n, passes, 1)
    # The logits are dead once their logarithmic softmax exists: probabilities take their place.
    log_probs = torch.log_softmax(buffers.logits[:n], dim=-1, out=buffers.log_probs[:n])
    nll = -log_probs.gather(-1, index).squeeze(-1)  # n x P
    smoothed = true * nll.sum() - other * log_probs.sum()
    probs = torch.exp(log_probs, out=buffers.logits[:n])
    divergence, gradient, factor = nll.new_zeros(()), probs, 1 / passes
    if kl_weight > 0:
        divergence = _add_divergence(buffers, n, kl_weight)
        gradient, factor = buffers.log_probs[:n], -kl_weight / 2
    gradient.scatter_add_(-1, index, nll.new_full((n, passes, 1), -true / passes / factor))
    return torch.stack([smoothed, nll.sum(), divergence]), gradient, factor


def _add_divergence(buffers: _Buffers, n: int, kl_weight: float) -> Tensor:
    """Symmetric KL of n tokens; its and the cross entropy's gradient replace the log-probs.

    Written to ``buffers.log_probs`` is q - p * [(1 + gamma) / gamma - K + d] for pass 1 and its
    mirror image for pass 2: two sweeps each, and the common factor waits for the matrix product.
    """
    p, q = buffers.logits[:n].unbind(dim=1)
    to_p, to_q = buffers.log_probs[:n].unbind(dim=1)
    d = torch.sub(to_p, to_q, out=buffers.difference[:n])
    product = buffers.product[:n]
    kl_p = torch.mul(p, d, out=product).sum(dim=-1, keepdim=True)  # KL(p||q), n x 1
    kl_q = -torch.mul(q, d, out=product).sum(dim=-1, keepdim=True)  # KL(q||p)
    constant = (1.0 + kl_weight) / kl_weight
    torch.add(constant - kl_p, d, out=to_p)
    torch.sub(constant - kl_q, d, out=to_q)
    torch.addcmul(q, p, to_p, value=-1, out=to_p)
    torch.addcmul(p, q, to_q, value=-1, out=to_q)
    return (kl_p + kl_q).sum() / 2


class _Buffers:
    """What one chunk needs, allocated once: n <= rows tokens, P passes, V words."""

    def __init__(self, features: Tensor, vocabulary: int) -> None:
        self.passes, self.vocabulary = features.size(1), vocabulary
        self.rows = chunk_rows(features, vocabulary)
        self.dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
        self.logits = features.new_empty(self.rows, self.passes, vocabulary, dtype=self.dtype)
        self.log_probs = torch.empty_like(self.logits)
        # for the divergence of two passes
        compared = self.rows if self.passes == 2 else 0
        self.difference = self.logits.new_empty(compared, vocabulary)
        self.product = torch.empty_like(self.difference)

    def project(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        """Write the logits of ``features`` (n x P x C), computed in the dtype of these two."""
        n, passes, _ = features.shape
        logits = self.logits[:n].view(n * passes, -1)
        flat = features.reshape(n * passes, -1)
        if flat.dtype == logits.dtype:
            torch.mm(flat, weight.t(), out=logits)
        else:
            logits.copy_(torch.mm(flat, weight.t()))
        if bias is not None:
            logits.add_(bias.to(flat.dtype))


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


def chunk_rows(features: Tensor, vocabulary: int) -> int:
    """Tokens of a chunk: at least 1, however large the vocabulary. ``features``: N x P x C."""
    n_tokens, passes, _ = features.shape
    budget = CPU_CHUNK_LOGITS if features.device.type == "cpu" else GPU_CHUNK_LOGITS
    return max(1, min(n_tokens, budget // (passes * vocabulary)))
