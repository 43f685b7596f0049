"""Repairs of the tasks and criterions for sentences."""

from __future__ import annotations

from fairseq.criterions.sentence_prediction import SentencePredictionCriterion

from lrdrop_fairseq.compat.replace import REPAIRED, replace


def gather_predictions_of_sentences() -> None:
    """Let several processes validate ``sentence_prediction`` with ``--report-mcc`` and the like.

    fairseq takes the lists of predictions for numbers that workers may add up, and the first
    validation ends in a TypeError.

    Ends with: a fairseq whose ``SentencePredictionCriterion`` has them gathered (none so far;
    0.12.2 has no such flags).
    """
    if hasattr(SentencePredictionCriterion.logging_outputs_can_be_summed, REPAIRED):
        return

    def logging_outputs_can_be_summed(self: SentencePredictionCriterion) -> bool:
        return self.training or not getattr(self, "keep_pred_and_targ", False)

    replace(SentencePredictionCriterion, logging_outputs_can_be_summed)
