"""The output term of a regression: the two passes must predict the same number."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def squared_difference(first: Tensor, second: Tensor) -> Tensor:
    r"""Squared difference of the predictions of pass 1 and pass 2.

    .. math:: (\hat y^1_n - \hat y^2_n)^2

    It takes the place that the symmetric KL divergence has between distributions, as in the
    published R-Drop code for STS-B. Gradients flow into both.

    Args:
        first, second: N.

    Returns:
        N, in squared units of the target.
    """
    return F.mse_loss(first, second, reduction="none")
