"""``lr_drop_label_smoothed_cross_entropy``: label-smoothed cross entropy with LR-Drop."""

# No "from __future__ import annotations": fairseq reads the types of the config's fields.
from dataclasses import dataclass
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from torch import Tensor

from lrdrop_fairseq.criterions import checks
from lrdrop_fairseq.criterions.next_word import UNITS, LRDropNextWordConfig, NextWordCriterion
from lrdrop_fairseq.criterions.siamese_criterion import log_terms
from lrdrop_fairseq.output_layer import adaptive_softmax


@dataclass
class LRDropLabelSmoothedCrossEntropyConfig(
    LRDropNextWordConfig, LabelSmoothedCrossEntropyCriterionConfig
):
    """The options of ``label_smoothed_cross_entropy`` and of LR-Drop."""


@register_criterion(
    "lr_drop_label_smoothed_cross_entropy", dataclass=LRDropLabelSmoothedCrossEntropyConfig
)
class LRDropLabelSmoothedCrossEntropyCriterion(
    NextWordCriterion, LabelSmoothedCrossEntropyCriterion
):
    r"""Trains two siamese passes that agree at every layer (LR-Drop, arXiv 2402.16361).

    For the objective see :class:`NextWordCriterion`. In validation, and with weights and start 0,
    it is ``label_smoothed_cross_entropy``: one plain pass.
    """

    def __init__(
        self,
        task: Any,
        sentence_avg: bool,
        label_smoothing: float,
        ignore_prefix_size: int = 0,
        report_accuracy: bool = False,
        lr_drop_hidden_weight: float = 0.1,
        lr_drop_attention_weight: float = 1.0,
        lr_drop_output_weight: float = 1.0,
        lr_drop_start: float = 0.67,
        lr_drop_ramp: float = 0,
        max_update: int = 0,
    ) -> None:
        super().__init__(task, sentence_avg, label_smoothing, ignore_prefix_size, report_accuracy)
        weights = (lr_drop_hidden_weight, lr_drop_attention_weight, lr_drop_output_weight)
        self.set_up(task, weights, (lr_drop_start, lr_drop_ramp, max_update))
        checks.check_task(task)
        checks.check_label_smoothing(label_smoothing)

    def forward(
        self, model: Any, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """See :class:`SiameseCriterion`.

        In validation fairseq sums the losses of an adaptive softmax in the model's precision, which
        with ``--fp16`` is infinity: there it is the plain pass of the training.
        """
        if not model.training and reduce and adaptive_softmax(model) is not None:
            return self.single_forward(model, sample)
        return super().forward(model, sample, reduce)

    def check_model(self, model: Any, sample: dict[str, Any]) -> None:
        super().check_model(model, sample)
        checks.check_bands(model, all_probabilities=True)

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Aggregate over workers and gradient accumulation; see docs/options.md for the units."""
        super().reduce_metrics(logging_outputs)
        log_terms(logging_outputs, "ntokens", UNITS)
