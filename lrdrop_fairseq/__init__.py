"""LR-Drop for fairseq: pass this folder as ``--user-dir``. Importing it registers everything."""

from lrdrop_fairseq import compat

__version__ = "0.1.0"  # of the package too: pyproject.toml reads it from here

compat.apply()  # before anything imports more of fairseq

from lrdrop_fairseq.criterions import (  # noqa: E402
    cross_entropy,
    label_smoothed_cross_entropy,
    sentence_prediction,
    term_start,
)
from lrdrop_fairseq.models import bart, roberta, transformer, transformer_lm  # noqa: E402
from lrdrop_fairseq.tasks import sentence_prediction as sentence_prediction_task  # noqa: E402

term_start.say_when_terms_act()

__all__ = [
    "bart",
    "cross_entropy",
    "label_smoothed_cross_entropy",
    "roberta",
    "sentence_prediction",
    "sentence_prediction_task",
    "transformer",
    "transformer_lm",
]
