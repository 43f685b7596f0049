"""``lr_drop_label_smoothed_cross_entropy``: label-smoothed cross entropy with LR-Drop."""

# No "from __future__ import annotations": fairseq reads the types of the config's fields.
import logging
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from torch import Tensor

from lrdrop_fairseq.criterions import checks, forward_checks
from lrdrop_fairseq.criterions.schedule import Schedule
from lrdrop_fairseq.criterions.siamese_criterion import LRDropConfig, SiameseCriterion, log_terms
from lrdrop_fairseq.losses.output import OutputTerms, output_terms
from lrdrop_fairseq.losses.output_chunked import chunked_output_terms
from lrdrop_fairseq.output_layer import (
    chunking_obstacle,
    log_probabilities,
    output_projection,
)
from lrdrop_fairseq.siamese import duplicate, halves

logger = logging.getLogger(__name__)


@dataclass
class LRDropLabelSmoothedCrossEntropyConfig(LRDropConfig, LabelSmoothedCrossEntropyCriterionConfig):
    """The options of both; the terms begin late."""

    lr_drop_start: float = field(
        default=0.67,
        metadata={
            "help": "updates before the terms act, below 1 a part of --max-update: one plain pass "
            "each. The terms help a model that has converged, and hold one back that has not: 0 "
            "for one that is pretrained"
        },
    )


@register_criterion(
    "lr_drop_label_smoothed_cross_entropy", dataclass=LRDropLabelSmoothedCrossEntropyConfig
)
class LRDropLabelSmoothedCrossEntropyCriterion(
    SiameseCriterion, LabelSmoothedCrossEntropyCriterion
):
    r"""Trains two siamese passes that agree at every layer (LR-Drop, arXiv 2402.16361).

    .. math:: \tfrac12(\mathrm{CE}_1 + \mathrm{CE}_2) + \alpha\,\mathrm{HSR}
        + \beta\,\mathrm{MHAR} + \gamma\,\mathrm{OR}

    Every term is a sum over non-padding tokens, in nats where it has a unit. In validation, and
    with all three weights 0, it is ``label_smoothed_cross_entropy``: one plain pass.
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
        patience: int = -1,
    ) -> None:
        super().__init__(task, sentence_avg, label_smoothing, ignore_prefix_size, report_accuracy)
        self.set_weights(lr_drop_hidden_weight, lr_drop_attention_weight, lr_drop_output_weight)
        schedule = Schedule.of_options(lr_drop_start, lr_drop_ramp, max_update)
        self.set_schedule(schedule, task, patience)
        checks.check_label_smoothing(label_smoothing)
        checks.check_task(task)

    def check_model(self, model: Any, sample: dict[str, Any]) -> None:
        super().check_model(model, sample)
        forward_checks.check_inputs(model, sample["net_input"])
        if self.exposing:
            checks.check_decoder(model)
        obstacle = chunking_obstacle(model)
        if obstacle:
            logger.info("LR-Drop holds the logits of all tokens, because of %s", obstacle)

    def single_forward(
        self, model: Any, sample: dict[str, Any]
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """One plain pass, through the chunked output loss where the model allows it."""
        if output_projection(model) is None:
            return super().single_forward(model, sample)
        terms, _ = self._run(model, sample, passes=1)
        log = self._log(sample, terms)
        log["loss"] = terms.objective.detach()
        return terms.objective, log["sample_size"], log

    def siamese_forward(
        self, model: Any, sample: dict[str, Any]
    ) -> tuple[Tensor, int, dict[str, Any]]:
        terms, net_output = self._run(model, sample, passes=2)
        log = self._log(sample, terms)
        loss = terms.objective
        if self.exposing:
            loss = self.layer_terms(loss, log, net_output[1], self._paddings(model, sample))
        if self.output_weight > 0:
            log["output_loss"] = terms.symmetric_kl
        log["loss"] = loss.detach()
        return loss, log["sample_size"], log

    def _log(self, sample: dict[str, Any], terms: OutputTerms) -> dict[str, Any]:
        """What both steps log, without the loss."""
        nsentences = sample["target"].size(0)
        log = {
            "nll_loss": terms.nll,
            "ntokens": sample["ntokens"],
            "nsentences": nsentences,
            "sample_size": nsentences if self.sentence_avg else sample["ntokens"],
        }
        if self.report_accuracy:
            log["n_correct"] = terms.correct
            log["total"] = self._without_prefix(sample["target"]).ne(self.padding_idx).sum()
        return log

    def _run(self, model: Any, sample: dict[str, Any], passes: int) -> tuple[OutputTerms, Any]:
        """One forward on two passes or on one: its output terms, and what the model returned."""
        projection = output_projection(model)
        options: dict[str, Any] = {} if projection is None else {"features_only": True}
        # The states of layers come in halves. A model that exposes none keeps its order of rows.
        in_turn = projection is None and not self.exposing
        inputs = sample
        if passes == 2:
            options |= self.exposing_options()
            inputs = duplicate(sample, in_turn)
        with forward_checks.order_in_words(model):
            net_output = model(**inputs["net_input"], **options)
        target = self._without_prefix(model.get_targets(sample, net_output))
        # The one place where a GPU is waited for: dropping the padding saves more than that.
        kept = target.ne(self.padding_idx).flatten().nonzero().squeeze(-1)
        weight = self.strength * self.output_weight
        common = (target.flatten()[kept], self.eps, weight, self.report_accuracy)
        chunked = projection is not None
        output = net_output[0] if chunked else log_probabilities(model, net_output)
        forward_checks.check_output(model, output, inputs["net_input"]["prev_output_tokens"])
        parts = halves(output, in_turn=in_turn) if passes == 2 else (output,)
        # P x (B x T x C) -> N x P x C, what the N kept tokens have in each of the P passes.
        kept_parts = [self._without_prefix(x).flatten(0, 1).index_select(0, kept) for x in parts]
        output = torch.stack(kept_parts, dim=1)
        if projection is None:
            return output_terms(output, *common), net_output
        terms = chunked_output_terms(output, projection.weight, projection.bias, *common)
        return terms, net_output

    def _without_prefix(self, x: Tensor) -> Tensor:
        """B x T (x C) without the ignored first columns."""
        return x[:, self.ignore_prefix_size :]

    @staticmethod
    def _paddings(model: Any, sample: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Padding masks of source and decoder input: B x S and B x T, True at padding."""
        source = sample["net_input"]["src_tokens"].eq(model.encoder.padding_idx)
        return source, sample["net_input"]["prev_output_tokens"].eq(model.decoder.padding_idx)

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Aggregate over workers and gradient accumulation; see docs/options.md for the units."""
        super().reduce_metrics(logging_outputs)
        # The KL divergence in bits like fairseq's losses; the other two have no unit.
        units = {"hidden_loss": 1.0, "attention_loss": 1.0, "output_loss": math.log(2)}
        log_terms(logging_outputs, "ntokens", units)
