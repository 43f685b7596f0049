"""fairseq's BART with exposed layer states: same parameters, same names, same results."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from fairseq.models import register_model, register_model_architecture
from fairseq.models.bart import (
    BARTModel,
    bart_base_architecture,
    bart_large_architecture,
    mbart_base_architecture,
    mbart_large_architecture,
)
from omegaconf import OmegaConf

from lrdrop_fairseq.models.exposed import ExposesLayerStates


@register_model("lr_drop_bart")
class LRDropBART(ExposesLayerStates, BARTModel):
    """``bart`` for LR-Drop. Public checkpoints load into it, and its own into ``bart``."""

    @classmethod
    def build_model(cls, args: Any, task: Any) -> Any:
        """Also from YAML, where the options are a config and not flags.

        fairseq then cuts them down to those of its Transformer, and BART fails as soon as it reads
        one of its own (``pooler_dropout``) or ``task``, a flag that no config of a model has.
        """
        if OmegaConf.is_config(args):
            args = Namespace(**{"task": None, **args})
        return super().build_model(args, task)


for _name, _architecture in {
    "lr_drop_bart": bart_large_architecture,  # fairseq's bart has no default of its own
    "lr_drop_bart_base": bart_base_architecture,
    "lr_drop_bart_large": bart_large_architecture,
    "lr_drop_mbart_base": mbart_base_architecture,
    "lr_drop_mbart_large": mbart_large_architecture,
}.items():
    register_model_architecture("lr_drop_bart", _name)(_architecture)
