"""fairseq's Transformer language model with exposed layer states: same parameters, same results."""

from __future__ import annotations

from typing import Any

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

from lrdrop_fairseq.models.exposed import ExposesLayerStates


@register_model("lr_drop_transformer_lm", dataclass=TransformerLanguageModelConfig)
class LRDropTransformerLanguageModel(ExposesLayerStates, TransformerLanguageModel):
    """``transformer_lm`` for LR-Drop. Checkpoints travel both ways between the two."""

    @classmethod
    def build_model(cls, args: Any, task: Any) -> Any:
        """Also from YAML by the name of an architecture.

        Such options lack the length of the task's samples, in whose place fairseq takes 1,024, and
        longer samples would be left out of the training.
        """
        if OmegaConf.is_config(args) and "tokens_per_sample" not in args:
            with open_dict(args):
                args.tokens_per_sample = task.args.tokens_per_sample
                args.max_target_positions = args.get("max_target_positions")
        model = super().build_model(args, task)
        for name, buffer in model.named_buffers():
            # Of adaptive input and softmax: memory as it was found, which checkpoints then hold.
            if name.endswith("._float_tensor"):
                buffer.zero_()
        return model


for _name, _architecture in {
    "lr_drop_transformer_lm_big": transformer_lm_big,
    "lr_drop_transformer_lm_wiki103": transformer_lm_baevski_wiki103,
    "lr_drop_transformer_lm_gpt": transformer_lm_gpt,
    "lr_drop_transformer_lm_gpt2_small": transformer_lm_gpt2_small,
}.items():
    register_model_architecture("lr_drop_transformer_lm", _name)(_architecture)
