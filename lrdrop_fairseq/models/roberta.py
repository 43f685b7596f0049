"""fairseq's RoBERTa with exposed layer states: same parameters, same names, same results."""

from __future__ import annotations

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


for _name, _architecture in {
    "lr_drop_roberta": base_architecture,
    "lr_drop_roberta_base": roberta_base_architecture,
    "lr_drop_roberta_large": roberta_large_architecture,
}.items():
    register_model_architecture("lr_drop_roberta", _name)(_architecture)
