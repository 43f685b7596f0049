"""What is computed on one chunk of tokens, of one or both passes: losses, gradient of the logits.

Everything happens within the buffers, which the next chunk uses again.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Logits of one chunk, all passes together. Larger buffers leave the cache of a CPU; in smaller
# ones reading the projection and its gradient, once per chunk, takes longer than all else. A GPU
# needs enough rows to fill its cores.
CPU_CHUNK_LOGITS = 1 << 22
GPU_CHUNK_LOGITS = 1 << 26


def chunk_terms(
    buffers: ChunkBuffers, target: Tensor, label_smoothing: float, kl_weight: float
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
    smoothed = true * nll.sum()
    if other > 0:  # 0 times the sum costs a sweep, and is no number with a word of probability 0
        smoothed -= other * log_probs.sum()
    probs = torch.exp(log_probs, out=buffers.logits[:n])
    divergence, gradient, factor = nll.new_zeros(()), probs, 1 / passes
    if kl_weight > 0:
        divergence = _add_divergence(buffers, n, kl_weight)
        gradient, factor = buffers.log_probs[:n], -kl_weight / 2
    gradient.scatter_add_(-1, index, nll.new_full((n, passes, 1), -true / passes / factor))
    return torch.stack([smoothed, nll.sum(), divergence]), gradient, factor


def _add_divergence(buffers: ChunkBuffers, n: int, kl_weight: float) -> Tensor:
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


class ChunkBuffers:
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


def chunk_rows(features: Tensor, vocabulary: int) -> int:
    """Tokens of a chunk: at least 1, however large the vocabulary. ``features``: N x P x C."""
    n_tokens, passes, _ = features.shape
    budget = CPU_CHUNK_LOGITS if features.device.type == "cpu" else GPU_CHUNK_LOGITS
    return max(1, min(n_tokens, budget // (passes * vocabulary)))
