"""fairseq's Transformer language model with exposed layer states: same parameters, same results."""

from __future__ import annotations

import difflib
import functools
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.models import register_model, register_model_architecture
from fairseq.models.transformer_lm import (
    TransformerLanguageModel,
    TransformerLanguageModelConfig,
    transformer_lm_baevski_wiki103,
    transformer_lm_big,
    transformer_lm_gpt,
    transformer_lm_gpt2_small,
)
from omegaconf import OmegaConf, open_dict

from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.models.exposed import ExposesLayerStates

_OPTIONS = asdict(TransformerLanguageModelConfig())
_OF_TASK = ("tokens_per_sample", "max_target_positions", "add_bos_token")


@register_model("lr_drop_transformer_lm")
class LRDropTransformerLanguageModel(ExposesLayerStates, TransformerLanguageModel):
    """``transformer_lm`` for LR-Drop. Checkpoints travel both ways between the two.

    Its options are flags and no dataclass as fairseq's: from YAML, fairseq fills up a dataclass
    with its defaults before it looks at an architecture, whose sizes then are those of none.
    """

    @staticmethod
    def add_args(parser: Any) -> None:
        """The options of ``transformer_lm``."""
        gen_parser_from_dataclass(parser, TransformerLanguageModelConfig(), delete_default=True)

    @classmethod
    def build_model(cls, args: Any, task: Any) -> Any:
        """Also from YAML, where the task's options are not among those of the model.

        Without them fairseq's longest sample has 1,024 tokens.
        """
        if OmegaConf.is_config(args):
            with open_dict(args):
                for name in _OF_TASK:
                    args[name] = args.get(name) or getattr(task.args, name, None)
        model = super().build_model(args, task)
        for name, buffer in model.named_buffers():
            # Of adaptive input and softmax: memory as it was found, which checkpoints then hold.
            if name.endswith("._float_tensor"):
                buffer.zero_()
        return model


def _complete(architecture: Callable[[Any], None]) -> Callable[[Any], None]:
    """The architecture, and the defaults of all options of which it says nothing."""

    @functools.wraps(architecture)
    def complete(args: Any) -> None:
        if OmegaConf.is_config(args):
            _refuse_unknown(args, architecture)
        architecture(args)
        for name, default in _OPTIONS.items():
            of_another_group = isinstance(default, str) and default.startswith("${")
            if not (name.startswith("_") or of_another_group or name in args):
                setattr(args, name, default)

    return complete


def _refuse_unknown(args: Any, architecture: Callable[[Any], None]) -> None:
    """Refuse what is misspelled in YAML, as fairseq does where a model's options are a dataclass.

    A checkpoint of such a training has what its architecture sets, too.
    """
    of_architecture = Namespace()
    architecture(of_architecture)
    known = {"_name", "arch", *_OPTIONS, *_OF_TASK, *vars(of_architecture)}
    for name in args:
        if name not in known:
            near = difflib.get_close_matches(name, _OPTIONS, n=1)
            similar = f": is {near[0]!r} meant?" if near else ""
            raise Refused(f"{architecture.__name__} has no option {name!r}{similar}")


def transformer_lm(args: Any) -> None:
    """fairseq's own has the defaults of its options."""


for _name, _architecture in {
    "lr_drop_transformer_lm": transformer_lm,
    "lr_drop_transformer_lm_big": transformer_lm_big,
    "lr_drop_transformer_lm_wiki103": transformer_lm_baevski_wiki103,
    "lr_drop_transformer_lm_gpt": transformer_lm_gpt,
    "lr_drop_transformer_lm_gpt2_small": transformer_lm_gpt2_small,
}.items():
    register_model_architecture("lr_drop_transformer_lm", _name)(_complete(_architecture))
