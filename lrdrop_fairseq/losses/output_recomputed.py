"""The output terms where probabilities follow from features by more than one matrix.

Per chunk of tokens the log-probabilities of all passes are computed, and once more in the
backward, so that no tensor of 2N x V ever exists: the arithmetic is that of the plain form, and
the memory that of one chunk.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lrdrop_fairseq.losses.output import OutputTerms, output_terms
from lrdrop_fairseq.losses.output_chunk import chunk_rows


def recomputed_output_terms(
    features: Tensor,
    log_probabilities: Callable[[Tensor], Tensor],
    vocabulary: int,
    target: Tensor,
    label_smoothing: float,
    kl_weight: float,
    count_correct: bool = False,
) -> OutputTerms:
    """Same terms as :func:`lrdrop_fairseq.losses.output.output_terms`, from features.

    Args:
        features: N x P x C, the decoder's features of the non-padding tokens in pass 1 and 2, or
            in one pass alone, whose ``kl_weight`` must be 0.
        log_probabilities: of features, n x P x C -> n x P x V; may drop out.
        vocabulary: V.
        target: N.
        label_smoothing: epsilon.
        kl_weight: gamma.
        count_correct: also count the correct predictions.
    """

    def terms_of(features: Tensor, target: Tensor) -> OutputTerms:
        options = (label_smoothing, kl_weight, count_correct)
        return output_terms(log_probabilities(features), target, *options)

    rows = chunk_rows(features, vocabulary)
    chunks = list(zip(torch.split(features, rows), torch.split(target, rows)))
    if len(chunks) == 1:
        return terms_of(features, target)
    # Each chunk draws its dropout again as it was drawn in the forward.
    terms = [checkpoint(terms_of, *chunk, use_reentrant=False) for chunk in chunks]
    return OutputTerms(*(torch.stack(parts).sum() for parts in zip(*terms)))
