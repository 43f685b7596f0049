"""fairseq's BART with exposed layer states: same parameters, same names, same results."""

from __future__ import annotations

from typing import Any

from fairseq.models import register_model, register_model_architecture
from fairseq.models.bart import BARTModel, bart_base_architecture, bart_large_architecture

from lrdrop_fairseq.models.exposed import ExposesLayerStates


@register_model("lr_drop_bart")
class LRDropBART(ExposesLayerStates, BARTModel):
    """``bart`` for LR-Drop. Public checkpoints load into it, and its own into ``bart``."""

    def upgrade_state_dict_named(self, state_dict: dict[str, Any], name: str) -> None:
        """Also where the model is made from YAML, whose options do not name the task: fairseq's
        BART asks for it there (it wants to know mBART's) and would fail."""
        if not hasattr(self.args, "task"):
            self.args.task = None
        super().upgrade_state_dict_named(state_dict, name)


for _name, _architecture in {
    "lr_drop_bart": bart_large_architecture,  # fairseq's bart has no default of its own
    "lr_drop_bart_base": bart_base_architecture,
    "lr_drop_bart_large": bart_large_architecture,
}.items():
    register_model_architecture("lr_drop_bart", _name)(_architecture)
