"""The exposing RoBERTa is fairseq's RoBERTa, and what it exposes is right."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest
import torch
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from fairseq.models.roberta import RobertaModel

from lrdrop_fairseq.layer_states import AttentionMap
from lrdrop_fairseq.models.roberta import LRDropRoberta
from tests.toy import draw_dropout_as_fairseq
from tests.toy_sentences import HEAD, make_sentence_model, make_sentences


def itself(state: Any) -> Any:
    return state


def pair(**options: Any) -> tuple[Any, Any]:
    """Our and fairseq's model with the same parameters."""
    ours, theirs = (make_sentence_model(arch, **options) for arch in ("lr_drop_roberta", "roberta"))
    assert (type(ours), type(theirs)) == (LRDropRoberta, RobertaModel)
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other), name
    return ours, theirs


def test_state_dicts_travel_both_ways() -> None:
    ours, theirs = pair()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("head", [None, HEAD])
def test_unexposed_forward_is_fairseqs_to_the_last_bit(training: bool, head: str | None) -> None:
    outputs = []
    for model in pair(attention_dropout=0.1):
        torch.manual_seed(0)
        net_input = make_sentences()["net_input"]
        outputs.append(model.train(training)(**net_input, classification_head_name=head)[0])
    assert torch.equal(*outputs)


def test_exposing_forward_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the states are the layers' outputs, the maps those of each module, per head."""
    draw_dropout_as_fairseq(monkeypatch)
    ours, theirs = pair(attention_dropout=0.0)
    net_input = make_sentences()["net_input"]
    torch.manual_seed(0)
    expected, inner = theirs(**net_input, return_all_hiddens=True)
    torch.manual_seed(0)
    actual, extra = ours(**net_input, expose_hidden=itself, expose_attention=itself)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    states = extra["layer_states"]
    padding = net_input["src_tokens"].eq(1)
    for mine, other in zip(states.encoder_hidden, inner["inner_states"][1:], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
    assert len(states.encoder_self_attention) == 2 and not states.decoder_hidden
    for exposed in states.encoder_self_attention:
        assert isinstance(exposed, AttentionMap) and exposed.probabilities.shape == (4, 2, 6, 6)
        assert not exposed.probabilities.masked_select(padding[:, None, None]).any()


@pytest.mark.parametrize(
    "arch, width, ffn, heads, layers",
    [
        ("lr_drop_roberta", 768, 3072, 12, 12),
        ("lr_drop_roberta_base", 768, 3072, 12, 12),
        ("lr_drop_roberta_large", 1024, 4096, 16, 24),
    ],
)
def test_architectures(arch: str, width: int, ffn: int, heads: int, layers: int) -> None:
    args = Namespace(arch=arch)
    ARCH_CONFIG_REGISTRY[arch](args)
    assert ARCH_MODEL_REGISTRY[arch] is LRDropRoberta
    names = ("embed_dim", "ffn_embed_dim", "attention_heads", "layers")
    assert [getattr(args, f"encoder_{name}") for name in names] == [width, ffn, heads, layers]
