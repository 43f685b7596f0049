"""OR, output regularization: the two passes must agree on the output distribution.

This is the plain form: it reads like its formula and holds the log-probabilities of all tokens.
:mod:`lrdrop_fairseq.losses.output_chunked` gives the same numbers without them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class OutputTerms(NamedTuple):
    """The part of the objective that depends on the output distribution, summed over tokens.

    Attributes:
        objective: scalar, differentiable: label-smoothed cross entropy, mean of the two passes,
            plus the weighted symmetric KL divergence. In nats. Of a single pass, its own.
        nll: scalar, detached: negative log-likelihood, mean of the two passes. In nats.
        symmetric_kl: scalar, detached: unweighted. In nats; 0 if its weight is 0.
        correct: scalar, detached: tokens whose most probable word is the target, mean of the
            two passes; 0 unless it was asked for.
    """

    objective: Tensor
    nll: Tensor
    symmetric_kl: Tensor
    correct: Tensor


def output_terms(
    log_probs: Tensor,
    target: Tensor,
    label_smoothing: float,
    kl_weight: float,
    count_correct: bool = False,
) -> OutputTerms:
    r"""Cross entropy of both passes and the symmetric KL divergence between them.

    .. math::
        \sum_{n} \tfrac12 [\mathrm{CE}(p_n) + \mathrm{CE}(q_n)]
        + \gamma\, \tfrac12 [\mathrm{KL}(p_n \| q_n) + \mathrm{KL}(q_n \| p_n)]

    where p is the distribution of pass 1 and q that of pass 2. Gradients flow into both: each
    pass is teacher and student of the other (LR-Drop paper, OR; R-Drop, arXiv 2106.14448, whose
    published code sums the two cross entropies: its alpha is :math:`2\gamma`).

    Args:
        log_probs: N x P x V: of each non-padding token, pass 1 and pass 2, or one pass alone,
            whose ``kl_weight`` must be 0.
        target: N.
        label_smoothing: epsilon, spread over the V - 1 other words as fairseq does.
        kl_weight: gamma.
        count_correct: also count the correct predictions.
    """
    passes = log_probs.size(1)
    # N x P x V -> N x P
    smoothed, nll = label_smoothed_nll(log_probs, target, label_smoothing)
    objective = smoothed.sum() / passes
    divergence = correct = objective.new_zeros(())
    if kl_weight > 0:
        divergence = symmetric_kl(log_probs[:, 0], log_probs[:, 1]).sum()
        objective = objective + kl_weight * divergence
    if count_correct:
        correct = log_probs.argmax(dim=-1).eq(target.unsqueeze(-1)).sum().to(objective) / passes
    return OutputTerms(objective, nll.detach().sum() / passes, divergence.detach(), correct)


def label_smoothed_nll(
    log_probs: Tensor, target: Tensor, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    r"""Label-smoothed and plain negative log-likelihood of each token and pass, in nats.

    .. math:: (1 - \varepsilon - \varepsilon')\,(-\log p_t) + \varepsilon' \sum_v (-\log p_v),
        \qquad \varepsilon' = \varepsilon / (V - 1)

    which is fairseq's ``label_smoothed_nll_loss``.

    Args:
        log_probs: N x P x V of P passes.
        target: N.

    Returns:
        Two tensors of N x P.
    """
    index = target[:, None, None].expand(-1, log_probs.size(1), 1)
    nll = -log_probs.gather(dim=-1, index=index).squeeze(-1)
    if label_smoothing == 0:
        return nll, nll  # 0 times the sum would be no number with a word of probability 0
    smooth = -log_probs.sum(dim=-1)
    other = label_smoothing / (log_probs.size(-1) - 1)
    return (1.0 - label_smoothing - other) * nll + other * smooth, nll


def symmetric_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    r"""Mean of the two KL divergences between p and q.

    .. math:: \tfrac12[\mathrm{KL}(p\|q) + \mathrm{KL}(q\|p)]
        = \tfrac12\sum_v (p_v - q_v)(\log p_v - \log q_v)

    Every summand of this form is at least 0, so nothing cancels when p and q are close. That of a
    word that the model leaves out in both (log-probability minus infinity) is 0.

    Args:
        log_p, log_q: log-probabilities, N x V.

    Returns:
        N divergences, in nats.
    """
    difference = torch.where(log_p == log_q, 0.0, log_p - log_q)
    return ((log_p.exp() - log_q.exp()) * difference).sum(dim=-1) / 2
