"""LR-Drop for fairseq: pass this folder as ``--user-dir``. Importing it registers everything."""

from lrdrop_fairseq import compat

compat.apply()  # before anything imports more of fairseq

from lrdrop_fairseq.criterions import label_smoothed_cross_entropy  # noqa: E402
from lrdrop_fairseq.models import transformer  # noqa: E402

__all__ = ["label_smoothed_cross_entropy", "transformer"]
