"""What every LR-Drop criterion does beside its task loss: two passes, the terms of the layers."""

# No "from __future__ import annotations": fairseq reads the types of the config's fields.
import logging
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from omegaconf import II
from torch import Tensor

from lrdrop_fairseq.criterions import checks, first_step
from lrdrop_fairseq.criterions.schedule import Schedule, UpdateCounter
from lrdrop_fairseq.layer_terms import attention_distance, attention_term, hidden_term
from lrdrop_fairseq.losses.hidden import hidden_state_distance
from lrdrop_fairseq.wrappers import unwrap

logger = logging.getLogger(__name__)


@dataclass
class LRDropConfig(FairseqDataclass):
    """What all criterions of LR-Drop are told: weights, and when the terms act."""

    lr_drop_hidden_weight: float = field(
        default=0.1,
        metadata={"help": "alpha: weight of the hidden states regularization (HSR), 0 for none"},
    )
    lr_drop_attention_weight: float = field(
        default=1.0,
        metadata={"help": "beta: weight of the multi-head attention regularization (MHAR)"},
    )
    lr_drop_output_weight: float = field(
        default=1.0,
        metadata={
            "help": "gamma: weight of the output regularization (OR), the symmetric KL divergence "
            "or, of a regression, the squared difference; half of R-Drop's alpha"
        },
    )
    lr_drop_start: float = field(
        default=0,
        metadata={
            "help": "updates before the terms act, below 1 a part of --max-update: "
            "one plain pass each"
        },
    )
    lr_drop_ramp: float = field(
        default=0,
        metadata={
            "help": "updates, below 1 a part of --max-update, in which the weights then rise "
            "linearly to their values"
        },
    )
    max_update: int = II("optimization.max_update")


class SiameseCriterion:
    """Mixin that goes in front of a fairseq criterion, whose training it turns into LR-Drop's.

    In validation, and with all three weights and the start 0, the criterion is what it is without
    the mixin: one plain pass. Otherwise the subclass's ``siamese_forward`` trains, once the terms
    have started; until then, and throughout where all weights are 0, its ``single_forward``.
    """

    def set_up(
        self,
        task: Any,
        weights: tuple[float, float, float],
        schedule: tuple[float, float, int],
    ) -> None:
        """Take the options of LR-Drop; ValueError for those that cannot be meant.

        Args:
            task: tells the number of updates, if that is of account.
            weights: alpha, beta and gamma.
            schedule: start, ramp and the updates that either may be a part of.
        """
        hidden, attention, output = weights
        checks.check_weights(hidden=hidden, attention=attention, output=output)
        self.hidden_weight, self.attention_weight, self.output_weight = weights
        self.schedule = Schedule.of_options(*schedule)
        scheduled = self.siamese and not self.schedule.constant
        self._counter = UpdateCounter(task) if scheduled else None
        if self._counter and self.schedule.start > 0:
            first_step.explain_full_memory(task, self._counter, self.schedule.start)
        self._model_checked = False

    @property
    def siamese(self) -> bool:
        """Whether any term is switched on, so that training takes two passes once it started."""
        return self.exposing or self.output_weight > 0

    @property
    def exposing(self) -> bool:
        """Whether a term needs the states of the layers."""
        return self.hidden_weight > 0 or self.attention_weight > 0

    @property
    def strength(self) -> float:
        """Factor of all weights in this update, from 0 to 1."""
        return 1.0 if self._counter is None else self.schedule.strength(self._counter.read())

    def forward(
        self, model: Any, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """Return (summed loss, sample size, logging output), as every fairseq criterion does."""
        if not model.training or not (self.siamese or self.schedule.start > 0):
            return super().forward(model, sample, reduce)  # type: ignore[misc,no-any-return]
        if not reduce:
            raise ValueError("LR-Drop's training loss is a sum: reduce=False is not supported")
        if not self.siamese:
            return self.single_forward(model, sample)
        if not self._model_checked:
            self.check_model(model, sample)
            self._model_checked = True
        return (self.siamese_forward if self.strength > 0 else self.single_forward)(model, sample)

    def rehearse(self, model: Any, sample: dict[str, Any]) -> None:
        """Check the model, and run it as a siamese step does; nothing is changed by that.

        So what cannot be trained is refused before the first update, not when the terms start.

        Args:
            model: as fairseq's trainer passes it, wrapped or not.
            sample: any batch of the task, on the model's device.

        Raises:
            ValueError: the model cannot be trained with LR-Drop.
        """
        self.check_model(model, sample)
        self._model_checked = True
        inner = unwrap(model)[-1]
        started = self._counter.at(self.schedule.start) if self._counter else nullcontext()
        with first_step.rehearsal(inner), started:
            loss, _, _ = self.siamese_forward(inner, sample)
        if not loss.isfinite():
            logger.warning(
                "the loss with LR-Drop's terms is %s on this model and batch: a training in which "
                "it stays so ends where the terms start. Is a logit, or a mask of one, infinite?",
                loss.item(),
            )

    def check_model(self, model: Any, sample: dict[str, Any]) -> None:
        """Raise ValueError for a model that cannot be trained so, by what it is."""
        checks.check_model(model, exposed=self.exposing)

    def single_forward(
        self, model: Any, sample: dict[str, Any]
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """The training step before the terms act: one plain pass."""
        return super().forward(model, sample)  # type: ignore[misc,no-any-return]

    def siamese_forward(
        self, model: Any, sample: dict[str, Any]
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """The training step: what ``forward`` returns, from one forward on ``[x; x]``."""
        raise NotImplementedError

    def exposing_options(self) -> dict[str, Any]:
        """What the model's forward needs to be told for :meth:`layer_terms`."""
        options: dict[str, Any] = {}
        if self.hidden_weight > 0:
            options["expose_hidden"] = hidden_state_distance
        if self.attention_weight > 0:
            options["expose_attention"] = attention_distance
        return options

    def layer_terms(
        self,
        loss: Tensor,
        log: dict[str, Any],
        extra: dict[str, Any],
        paddings: tuple[Tensor, Tensor],
        mean_of_tokens: bool = False,
    ) -> Tensor:
        """``loss`` plus the weighted hidden and attention terms, which ``log`` gets unweighted.

        Args:
            extra: the second part of the model's output.
            paddings: masks of source and decoder input, B x S and B x T, True at padding.
            mean_of_tokens: see :func:`lrdrop_fairseq.layer_terms.hidden_term`.
        """
        if self.hidden_weight > 0:
            hidden = hidden_term(extra["layer_states"], *paddings, mean_of_tokens)
            loss = loss + self.strength * self.hidden_weight * hidden
            log["hidden_loss"] = hidden.detach()
        if self.attention_weight > 0:
            attention = attention_term(extra["layer_states"], *paddings, mean_of_tokens)
            loss = loss + self.strength * self.attention_weight * attention
            log["attention_loss"] = attention.detach()
        return loss


def log_terms(logging_outputs: list[dict[str, Any]], per: str, units: dict[str, float]) -> None:
    """Log the terms of ``units``, aggregated over workers and gradient accumulation.

    Args:
        per: the logged number that they are divided by, such as ``"ntokens"``.
        units: the unit of each term in terms of that in which it was summed; log 2 for bits.
    """
    count = sum(log.get(per, 0) for log in logging_outputs)
    for name, unit in units.items():
        if any(name in log for log in logging_outputs):
            total = sum(log.get(name, 0) for log in logging_outputs)
            # Hardly rounded: among hundreds of keys, differences of probabilities are millionths.
            metrics.log_scalar(name, total / count / unit, count, round=10)
