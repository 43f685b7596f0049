"""``lr_drop_sentence_prediction``: classification and regression of sentences with LR-Drop."""

# No "from __future__ import annotations": fairseq reads the types of the config's fields.
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from fairseq.criterions import register_criterion
from fairseq.criterions.sentence_prediction import (
    SentencePredictionConfig,
    SentencePredictionCriterion,
)
from torch import Tensor

from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.criterions import checks
from lrdrop_fairseq.criterions.siamese_criterion import LRDropConfig, SiameseCriterion, log_terms
from lrdrop_fairseq.losses.output import output_terms
from lrdrop_fairseq.losses.regression import squared_difference
from lrdrop_fairseq.siamese import duplicate, halves


@dataclass
class LRDropSentencePredictionConfig(LRDropConfig, SentencePredictionConfig):
    """The options of ``sentence_prediction`` and of LR-Drop."""


class _Terms(NamedTuple):
    """What follows from the predictions, summed over sentences; ``objective`` has the graph."""

    objective: Tensor
    task_loss: Tensor
    output_loss: Tensor
    correct: Tensor | None


@register_criterion("lr_drop_sentence_prediction", dataclass=LRDropSentencePredictionConfig)
class LRDropSentencePredictionCriterion(SiameseCriterion, SentencePredictionCriterion):
    r"""Trains two siamese passes that agree at every layer (LR-Drop, arXiv 2402.16361).

    .. math:: \tfrac12(\mathrm{L}_1 + \mathrm{L}_2) + \alpha\,\mathrm{HSR}
        + \beta\,\mathrm{MHAR} + \gamma\,\mathrm{OR}

    where L is the cross entropy of a classification (nats), or the squared error of a regression,
    and OR the symmetric KL divergence or the squared difference of the two predictions. Every
    term is a sum over sentences; for HSR and MHAR a sentence counts with the mean over its
    non-padding tokens. In validation, and with weights and start 0, it is
    ``sentence_prediction``: one plain pass.
    """

    def __init__(self, cfg: LRDropSentencePredictionConfig, task: Any) -> None:
        checks.check_labels(task)
        super().__init__(cfg, task)
        self.set_up(
            task,
            (cfg.lr_drop_hidden_weight, cfg.lr_drop_attention_weight, cfg.lr_drop_output_weight),
            (cfg.lr_drop_start, cfg.lr_drop_ramp, cfg.max_update),
        )

    def check_model(self, model: Any, sample: dict[str, Any]) -> None:
        super().check_model(model, sample)
        heads = getattr(model, "classification_heads", {})
        if self.classification_head_name not in heads:
            raise Refused(
                f"the model has no classification head {self.classification_head_name!r} (it has: "
                f"{', '.join(heads) or 'none'}): train it with --task sentence_prediction and the "
                "--classification-head-name of that task"
            )
        if not self.regression_target and getattr(self.task.cfg, "num_classes", None) == 1:
            raise Refused(
                "--num-classes 1 leaves a classification nothing to learn: add "
                "--regression-target, or give the number of classes"
            )

    def siamese_forward(
        self, model: Any, sample: dict[str, Any]
    ) -> tuple[Tensor, int, dict[str, Any]]:
        logits, extra = model(
            **duplicate(sample)["net_input"],
            features_only=True,
            classification_head_name=self.classification_head_name,
            **self.exposing_options(),
        )
        targets = model.get_targets(sample, [logits]).view(-1)
        terms_of = self._regression if self.regression_target else self._classification
        terms = terms_of(logits, targets)
        logging_output = {
            "task_loss": terms.task_loss,
            "ntokens": sample["ntokens"],
            "nsentences": targets.numel(),
            "sample_size": targets.numel(),
        }
        loss = terms.objective
        if self.exposing:
            paddings = self._paddings(sample["net_input"])
            loss = self.layer_terms(loss, logging_output, extra, paddings, mean_of_tokens=True)
        if self.output_weight > 0:
            logging_output["output_loss"] = terms.output_loss
        if terms.correct is not None:
            logging_output["ncorrect"] = terms.correct
        for name, pruning_loss in _pruning_losses(model).items():
            loss = loss + pruning_loss
            logging_output[name] = pruning_loss.detach()
        logging_output["loss"] = loss.detach()
        return loss, targets.numel(), logging_output

    def _classification(self, logits: Tensor, targets: Tensor) -> _Terms:
        # 2B x classes -> B x 2 x classes
        log_probs = F.log_softmax(_pairs(logits), dim=-1)
        weight = self.strength * self.output_weight
        terms = output_terms(log_probs, targets, 0.0, weight, count_correct=True)
        return _Terms(terms.objective, terms.nll, terms.symmetric_kl, terms.correct)

    def _regression(self, logits: Tensor, targets: Tensor) -> _Terms:
        # 2B x numbers -> two of (B * numbers)
        first, second = (half.flatten() for half in _pairs(logits).unbind(dim=1))
        targets = targets.to(first)
        errors = [F.mse_loss(half, targets, reduction="sum") for half in (first, second)]
        task_loss = (errors[0] + errors[1]) / 2
        difference = squared_difference(first, second).sum()
        objective = task_loss
        if self.output_weight > 0:
            objective = objective + self.strength * self.output_weight * difference
        return _Terms(objective, task_loss.detach(), difference.detach(), None)

    def _paddings(self, net_input: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Padding masks of encoder and decoder input, True at padding; one twice if alone."""
        source = net_input["src_tokens"].eq(self.padding_idx)
        decoder_input = net_input.get("prev_output_tokens")
        return source, source if decoder_input is None else decoder_input.eq(self.padding_idx)

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Aggregate over workers and gradient accumulation; see docs/options.md for the units."""
        super().reduce_metrics(logging_outputs)
        # fairseq divides every loss by log 2, that of a regression too: so they can be compared.
        bits = math.log(2)
        units = dict(hidden_loss=1.0, attention_loss=1.0, output_loss=bits, task_loss=bits)
        log_terms(logging_outputs, "sample_size", units)


def _pairs(logits: Tensor) -> Tensor:
    """2B x ... of a duplicated batch -> B x 2 x ..., in float32 (or float64 if they are)."""
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return torch.stack(halves(logits.to(dtype)), dim=1)


def _pruning_losses(model: Any) -> dict[str, Tensor]:
    """What fairseq's ``sentence_prediction`` adds for adaptive pruning: sums over parameters."""
    args = getattr(model, "args", None)
    losses = {}
    if getattr(args, "mha_reg_scale_factor", 0.0):
        losses["mha_reg_loss"] = model._get_adaptive_head_loss()
    if getattr(args, "ffn_reg_scale_factor", 0.0):
        losses["ffn_reg_loss"] = model._get_adaptive_ffn_loss()
    return losses
