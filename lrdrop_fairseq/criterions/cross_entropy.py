"""``lr_drop_cross_entropy``: the cross entropy of the next word with LR-Drop."""

# No "from __future__ import annotations": fairseq reads the types of the config's fields.
import math
from dataclasses import dataclass
from typing import Any

from fairseq import utils
from fairseq.criterions import register_criterion
from fairseq.criterions.cross_entropy import CrossEntropyCriterion, CrossEntropyCriterionConfig
from fairseq.logging import metrics
from torch import Tensor

from lrdrop_fairseq.criterions import checks
from lrdrop_fairseq.criterions.next_word import UNITS, LRDropNextWordConfig, NextWordCriterion
from lrdrop_fairseq.criterions.siamese_criterion import log_terms
from lrdrop_fairseq.losses.adaptive import adaptive_cross_entropy
from lrdrop_fairseq.output_layer import adaptive_softmax


@dataclass
class LRDropCrossEntropyConfig(LRDropNextWordConfig, CrossEntropyCriterionConfig):
    """The options of ``cross_entropy`` and of LR-Drop."""


class PlainCrossEntropy(CrossEntropyCriterion):
    """``cross_entropy``; as ``adaptive_loss`` computes it where the softmax is adaptive."""

    def compute_loss(
        self, model: Any, net_output: Any, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[Tensor, Tensor]:
        """See fairseq: the sum over the batch, twice."""
        adaptive = adaptive_softmax(model)
        if adaptive is None:
            return super().compute_loss(model, net_output, sample, reduce)  # type: ignore[no-any-return]
        if not reduce:
            raise ValueError("the loss of an adaptive softmax is a sum: no reduce=False")
        checks.check_bands(model)
        target = model.get_targets(sample, net_output)
        loss = adaptive_cross_entropy(adaptive, net_output[0], target, self.padding_idx)
        return loss, loss


@register_criterion("lr_drop_cross_entropy", dataclass=LRDropCrossEntropyConfig)
class LRDropCrossEntropyCriterion(NextWordCriterion, PlainCrossEntropy):
    r"""Trains two siamese passes that agree at every layer (LR-Drop, arXiv 2402.16361).

    For the objective see :class:`NextWordCriterion`. In validation, and with weights and start 0,
    it is ``cross_entropy``: one plain pass.
    """

    def __init__(
        self,
        task: Any,
        sentence_avg: bool,
        lr_drop_hidden_weight: float = 0.1,
        lr_drop_attention_weight: float = 1.0,
        lr_drop_output_weight: float = 1.0,
        lr_drop_start: float = 0.67,
        lr_drop_ramp: float = 0,
        max_update: int = 0,
    ) -> None:
        super().__init__(task, sentence_avg)
        weights = (lr_drop_hidden_weight, lr_drop_attention_weight, lr_drop_output_weight)
        self.set_up(task, weights, (lr_drop_start, lr_drop_ramp, max_update))
        checks.check_task(task)

    def check_model(self, model: Any, sample: dict[str, Any]) -> None:
        super().check_model(model, sample)
        checks.check_bands(model)

    def single_forward(
        self, model: Any, sample: dict[str, Any]
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """One plain pass; an adaptive softmax leaves out most of the words for it."""
        if adaptive_softmax(model) is None:
            return super().single_forward(model, sample)
        return CrossEntropyCriterion.forward(self, model, sample)  # type: ignore[no-any-return]

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Aggregate over workers and gradient accumulation; see docs/options.md for the units.

        Other than fairseq's, which have no ``nll_loss`` beside an equal ``loss``: the perplexity
        would follow the whole objective from the update on in which the terms start.
        """

        def total(name: str, otherwise: str = "") -> float:
            values = (log.get(name, log.get(otherwise, 0)) for log in logging_outputs)
            return float(utils.item(sum(values)))

        def log(name: str, value: float, count: float) -> None:
            metrics.log_scalar(name, value / count / math.log(2), count, round=3)

        log("loss", total("loss"), total("sample_size"))
        log("nll_loss", total("nll_loss", otherwise="loss"), total("ntokens"))
        metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["nll_loss"].avg))
        log_terms(logging_outputs, "ntokens", UNITS)
