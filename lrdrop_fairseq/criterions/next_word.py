"""What the criterions of the next word share: translation, summarization, language models."""

# No "from __future__ import annotations": fairseq reads the types of the config's fields.
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from fairseq.modules import AdaptiveSoftmax
from torch import Tensor, nn

from lrdrop_fairseq.criterions import checks, forward_checks
from lrdrop_fairseq.criterions.siamese_criterion import LRDropConfig, SiameseCriterion
from lrdrop_fairseq.losses.output import OutputTerms, output_terms
from lrdrop_fairseq.losses.output_chunked import chunked_output_terms
from lrdrop_fairseq.losses.output_recomputed import recomputed_output_terms
from lrdrop_fairseq.output_layer import (
    adaptive_log_probabilities,
    adaptive_softmax,
    chunking_obstacle,
    output_projection,
)
from lrdrop_fairseq.siamese import decoder_input, duplicate, halves

logger = logging.getLogger(__name__)

# What the terms are divided by: the KL divergence is in bits like fairseq's losses, the other two
# have no unit.
UNITS = {"hidden_loss": 1.0, "attention_loss": 1.0, "output_loss": math.log(2)}


@dataclass
class LRDropNextWordConfig(LRDropConfig):
    """The options of LR-Drop; the terms begin late."""

    lr_drop_start: float = field(
        default=0.67,
        metadata={
            "help": "updates before the terms act, below 1 a part of --max-update: one plain pass "
            "each. The terms help a model that has converged, and hold one back that has not: 0 "
            "for one that is pretrained"
        },
    )


class NextWordCriterion(SiameseCriterion):
    r"""Mixin that goes in front of a fairseq criterion whose loss is the cross entropy of words.

    .. math:: \tfrac12(\mathrm{CE}_1 + \mathrm{CE}_2) + \alpha\,\mathrm{HSR}
        + \beta\,\mathrm{MHAR} + \gamma\,\mathrm{OR}

    Every term is a sum over non-padding tokens, in nats where it has a unit.
    """

    # Of fairseq's criterion; the last three where it has such options.
    padding_idx: int
    sentence_avg: bool
    eps: float = 0.0
    ignore_prefix_size: int = 0
    report_accuracy: bool = False

    def check_model(self, model: Any, sample: dict[str, Any]) -> None:
        super().check_model(model, sample)
        forward_checks.check_inputs(model, sample["net_input"])
        checks.check_decoder(model)
        obstacle = chunking_obstacle(model)
        if adaptive_softmax(model) is not None:
            logger.info("LR-Drop computes all probabilities twice, because of %s", obstacle)
        elif obstacle:
            logger.info("LR-Drop holds the logits of all tokens, because of %s", obstacle)

    def single_forward(
        self, model: Any, sample: dict[str, Any]
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """One plain pass, through the chunked output loss where the model allows it."""
        if output_projection(model) is None and adaptive_softmax(model) is None:
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
        options: dict[str, Any] = {}
        if output_projection(model) is not None:
            options["features_only"] = True
        # The states of layers come in halves. A model that exposes none keeps its order of rows.
        in_turn = output_projection(model) is None and not self.exposing
        inputs = sample
        if passes == 2:
            options |= self.exposing_options()
            inputs = duplicate(sample, in_turn)
        with forward_checks.order_in_words(model):
            net_output = model(**inputs["net_input"], **options)
        target = self._without_prefix(model.get_targets(sample, net_output))
        # The one place where a GPU is waited for: dropping the padding saves more than that.
        kept = target.ne(self.padding_idx).flatten().nonzero().squeeze(-1)
        output, terms_of = _output(model, net_output)
        forward_checks.check_output(model, output, decoder_input(inputs["net_input"]))
        parts = halves(output, in_turn=in_turn) if passes == 2 else (output,)
        # P x (B x T x C) -> N x P x C, what the N kept tokens have in each of the P passes.
        kept_parts = [self._without_prefix(x).flatten(0, 1).index_select(0, kept) for x in parts]
        weight = self.strength * self.output_weight if passes == 2 else 0.0
        common = (target.flatten()[kept], self.eps, weight, self.report_accuracy)
        return terms_of(torch.stack(kept_parts, dim=1), *common), net_output

    def _without_prefix(self, x: Tensor) -> Tensor:
        """B x T (x C) without the ignored first columns."""
        return x[:, self.ignore_prefix_size :]

    @staticmethod
    def _paddings(model: Any, sample: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Padding masks of source and decoder input: B x S and B x T, True at padding."""
        inputs = sample["net_input"]
        target = decoder_input(inputs).eq(model.decoder.padding_idx)
        if not hasattr(model, "encoder"):
            return target, target
        return inputs["src_tokens"].eq(model.encoder.padding_idx), target


def _output(model: Any, net_output: Any) -> tuple[Tensor, Callable[..., OutputTerms]]:
    """What the output terms are computed from, 2B x T x C or 2B x T x V, and the way to them."""
    projection, adaptive = output_projection(model), adaptive_softmax(model)
    if projection is not None:
        return net_output[0], partial(_through_matrix, projection)
    if adaptive is not None:
        return net_output[0], partial(_through_adaptive_softmax, adaptive)
    return model.get_normalized_probs(net_output, log_probs=True), output_terms


def _through_matrix(projection: nn.Linear, features: Tensor, *common: Any) -> OutputTerms:
    return chunked_output_terms(features, projection.weight, projection.bias, *common)


def _through_adaptive_softmax(
    adaptive: AdaptiveSoftmax, features: Tensor, *common: Any
) -> OutputTerms:
    log_probabilities = partial(adaptive_log_probabilities, adaptive)
    return recomputed_output_terms(features, log_probabilities, adaptive.vocab_size, *common)
