"""fairseq's RoBERTa with exposed layer states: same parameters, same names, same results."""

from __future__ import annotations

from typing import Any

from fairseq.models import register_model, register_model_architecture
from fairseq.models.roberta import RobertaModel
from fairseq.models.roberta.model import (
    base_architecture,
    roberta_base_architecture,
    roberta_large_architecture,
)

from lrdrop_fairseq.models.exposed import ExposesLayerStates


@register_model("lr_drop_roberta")
class LRDropRoberta(ExposesLayerStates, RobertaModel):
    """``roberta`` for LR-Drop. Public checkpoints load into it, and its own into ``roberta``."""

    @staticmethod
    def add_args(parser: Any) -> None:
        """The options of ``roberta``, and the epsilon, which fairseq has fixed."""
        RobertaModel.add_args(parser)
        parser.add_argument(
            "--layer-norm-epsilon", type=float, metavar="E",
            help="epsilon of every layer norm (default: 1e-5, as in fairseq; BERT's is 1e-12)",
        )  # fmt: skip

    @classmethod
    def build_model(cls, args: Any, task: Any) -> Any:
        """Build the model with the layer norms' own epsilon."""
        model = super().build_model(args, task)
        epsilon = getattr(args, "layer_norm_epsilon", None)
        if epsilon is not None:
            for module in model.modules():
                if hasattr(module, "normalized_shape"):  # torch's layer norm, or apex's
                    module.eps = epsilon
        return model


for _name, _architecture in {
    "lr_drop_roberta": base_architecture,
    "lr_drop_roberta_base": roberta_base_architecture,
    "lr_drop_roberta_large": roberta_large_architecture,
}.items():
    register_model_architecture("lr_drop_roberta", _name)(_architecture)
