"""The cross entropy of an adaptive softmax, without the probabilities of all words."""

from __future__ import annotations

import torch
from fairseq.modules import AdaptiveSoftmax
from torch import Tensor
from torch.nn import functional as F

NONE = -100  # no word of a band has this number


def adaptive_cross_entropy(
    adaptive: AdaptiveSoftmax, features: Tensor, target: Tensor, padding_idx: int
) -> Tensor:
    """Cross entropy in nats, summed over the tokens that are no padding, at least in float32.

    Each band of rare words is computed for its own words alone (Grave et al. 2017, section 4).
    fairseq's ``adaptive_loss`` does the same, but for two faults.  It numbers the words of a band
    from 0 and leaves out the one whose number there is ``padding_idx``, as if it were padding; and
    it sums in the precision of the logits: with bfloat16 to three digits, with float16 to infinity.

    Args:
        features: what the decoder gives, B x T x C.
        target: B x T, or as many words in another shape.
    """
    logits, targets = adaptive(features, target.reshape(-1))
    loss = features.new_zeros((), dtype=torch.promote_types(features.dtype, torch.float32))
    for band, (scores, words) in enumerate(zip(logits, targets, strict=True)):
        if words is None:  # the batch has no word of this band
            continue
        # Padding is among the frequent words, which keep their numbers in the first band.
        left_out = padding_idx if band == 0 else NONE
        scores = scores.to(loss.dtype)
        loss += F.cross_entropy(scores, words, ignore_index=left_out, reduction="sum")
    return loss
