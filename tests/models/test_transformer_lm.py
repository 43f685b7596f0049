"""The exposing language model is fairseq's, from flags and from YAML."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest
import torch
from fairseq import models, options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import ARCH_CONFIG_REGISTRY
from fairseq.models.transformer_lm import TransformerLanguageModel
from omegaconf import OmegaConf

from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.models.transformer_lm import LRDropTransformerLanguageModel
from tests.toy import draw_dropout_as_fairseq, gradients
from tests.toy_language import (
    ADAPTIVE,
    SIZES,
    TIED_PROJECTIONS,
    make_language_model,
    make_language_task,
    make_text_batch,
)

VARIANTS: dict[str, dict[str, Any]] = {
    "transformer_lm": {},
    "gpt": dict(arch="lr_drop_transformer_lm_gpt", share_decoder_input_output_embed=True),
    "gpt2_small": dict(arch="lr_drop_transformer_lm_gpt2_small", decoder_learned_pos=True),
    "big": dict(arch="lr_drop_transformer_lm_big"),
    "wiki103": dict(arch="lr_drop_transformer_lm_wiki103", **TIED_PROJECTIONS),
    "adaptive": ADAPTIVE,
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def variant(request: pytest.FixtureRequest) -> Any:
    return request.param


def stock(**values: Any) -> Any:
    arch = values.pop("arch", "lr_drop_transformer_lm").removeprefix("lr_drop_")
    return make_language_model(arch, **values)


def pair(**values: Any) -> tuple[Any, Any]:
    """Our and fairseq's model with the same parameters."""
    ours, theirs = make_language_model(**values), stock(seed=2, **values)
    assert (type(ours), type(theirs)) == (LRDropTransformerLanguageModel, TransformerLanguageModel)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return ours, theirs


def test_same_seed_same_initialization(variant: Any) -> None:
    ours, theirs = make_language_model(**variant), stock(**variant)
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other), name


@pytest.mark.parametrize("training", [False, True])
def test_unexposed_forward_is_fairseqs_to_the_last_bit(variant: Any, training: bool) -> None:
    outputs = []
    for model in pair(dropout=0.2, attention_dropout=0.1, **variant):
        torch.manual_seed(0)
        outputs.append(model.train(training)(**make_text_batch()["net_input"])[0])
    assert torch.equal(*outputs)


def test_exposing_forward_computes_the_same(variant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In double; fairseq rounds the softmax of its attention to float32."""
    draw_dropout_as_fairseq(monkeypatch)
    sample, results = make_text_batch(), []
    models = pair(**{"dropout": 0.2, "attention_dropout": 0.0, **variant})
    for model, exposing in zip(models, ({"expose_attention": lambda state: state}, {})):
        torch.manual_seed(0)
        output = model.double()(**sample["net_input"], **exposing)[0][sample["target"].ne(1)]
        output.square().sum().backward()
        results.append((output.detach(), gradients(model)))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_hidden_states_are_the_layers_outputs(variant: Any) -> None:
    model = make_language_model(dropout=0.1, **variant)
    keep = dict(expose_hidden=lambda state: state, expose_attention=lambda state: state)
    _, extra = model(**make_text_batch()["net_input"], **keep)
    states = extra["layer_states"]
    assert [tuple(s.shape) for s in states.decoder_hidden] == [(7, 3, 16)] * 3
    for mine, theirs in zip(states.decoder_hidden, extra["inner_states"][1:]):
        assert mine is theirs
    assert len(states.decoder_self_attention) == 3
    assert not (states.encoder_hidden or states.cross_attention or states.encoder_self_attention)


def test_checkpointed_layers_expose_the_same() -> None:
    results = []
    for checkpointed in (False, True):
        model = make_language_model(dropout=0.0, checkpoint_activations=checkpointed)
        keep = dict(expose_hidden=lambda x: x.sum(), expose_attention=lambda x: 0)
        states = model(**make_text_batch()["net_input"], **keep)[1]["layer_states"]
        results.append(torch.stack(states.decoder_hidden))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("name", ["big", "wiki103", "gpt", "gpt2_small"])
def test_architectures_have_fairseqs_sizes(name: str) -> None:
    ours, theirs = Namespace(), Namespace()
    ARCH_CONFIG_REGISTRY[f"lr_drop_transformer_lm_{name}"](ours)
    ARCH_CONFIG_REGISTRY[f"transformer_lm_{name}"](theirs)
    assert vars(ours).items() >= vars(theirs).items() and ours.decoder_layers >= 12


GPT = "lr_drop_transformer_lm_gpt"


def built_from(model: dict[str, Any]) -> Any:
    """The model that these options of a YAML file make of the task."""
    task = make_language_task()
    task.args.tokens_per_sample = 3000
    of_task = {"tokens_per_sample": 3000, "max_target_positions": None, "add_bos_token": False}
    config = OmegaConf.create({"task": of_task, "common": {"tpu": False}, "model": model})
    OmegaConf.set_struct(config, True)
    torch.manual_seed(1)
    return models.build_model(config.model, task), config


@pytest.mark.parametrize("name", ["", "_gpt", "_wiki103"])
def test_from_yaml(name: str) -> None:
    """A name of the model or of an architecture; samples may be as long as the task's."""
    name = f"lr_drop_transformer_lm{name}"
    sizes: dict[str, Any] = {**SIZES, "decoder_layers": 1}
    if name.endswith("_wiki103"):
        sizes |= dict(adaptive_softmax_cutoff="10,20", adaptive_input_cutoff="10,20")
    model, config = built_from({"_name": name, "dropout": 0.25, **sizes})
    assert len(model.decoder.layers) == 1 and model.decoder.dropout_module.p == 0.25
    assert model.max_positions() == 3000
    again, _ = built_from(OmegaConf.to_container(config.model))  # as a checkpoint has them
    assert again.max_positions() == 3000
    flags = ["no-data", "--task=language_modeling", f"--arch={name}", "--tokens-per-sample=3000"]
    flags += ["--dropout=0.25", *(f"--{k.replace('_', '-')}={v}" for k, v in sizes.items())]
    args = options.parse_args_and_arch(options.get_training_parser(), flags)
    torch.manual_seed(1)
    expected = models.build_model(convert_namespace_to_omegaconf(args).model, make_language_task())
    assert expected.max_positions() == 3000
    for (key, mine), other in zip(model.state_dict().items(), expected.state_dict().values()):
        assert torch.equal(mine, other), key


def test_an_option_that_there_is_not_is_refused_from_yaml() -> None:
    for model, name, meant in (
        ("lr_drop_transformer_lm", "dropuot", "dropout"),
        (GPT, "decoder_layer", "decoder_layers"),
    ):
        with pytest.raises(Refused, match=f"_lm.* has no option '{name}': is '{meant}' meant"):
            built_from({"_name": model, **SIZES, name: 1})
    with pytest.raises(Refused, match="has no option 'zzz'$"):
        built_from({"_name": GPT, **SIZES, "zzz": 1})
