"""Documents of 1,024 tokens: their attention term is computed block by block, and is the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lrdrop_fairseq import attention
from lrdrop_fairseq.layer_states import AttentionInputs, AttentionMap
from tests.toy import assert_same, make_criterion, make_model, make_sample, run

LONG, SHORT = 1024, 40
SIZES = dict(
    arch="lr_drop_bart_base",
    encoder_layers=1,
    decoder_layers=1,
    max_source_positions=LONG,
    dropout=0.1,
    attention_dropout=0.0,  # on a CPU, torch forms the map for attention dropout: see attention.py
)


def exposed(model: Any, sample: Any) -> Any:
    with torch.no_grad():
        _, extra = model(**sample["net_input"], expose_attention=lambda attention: attention)
    return extra["layer_states"]


def test_long_documents_form_no_map_of_the_source() -> None:
    """1,024 x 1,024 in the encoder gives queries and keys; the small maps of the decoder, 40 x 40,
    and from it to the source, 40 x 1,024, are formed."""
    states = exposed(make_model(**SIZES), make_sample(((LONG, SHORT),)))
    (source,) = states.encoder_self_attention
    assert isinstance(source, AttentionInputs)
    assert source.query.shape[2] == source.key.shape[2] == LONG
    (target,), (cross,) = states.decoder_self_attention, states.cross_attention
    assert isinstance(target, AttentionMap) and isinstance(cross, AttentionMap)
    assert cross.probabilities.shape[2:] == (SHORT, LONG)


def test_with_attention_dropout_a_cpu_forms_the_map() -> None:
    model = make_model(**{**SIZES, "attention_dropout": 0.1})
    (source,) = exposed(model, make_sample(((LONG, SHORT),))).encoder_self_attention
    assert isinstance(source, AttentionMap)


def test_the_loss_of_long_documents_is_that_of_their_maps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One document fills the 1,024 positions, the other is padded; every gradient is compared."""
    sample = make_sample(((LONG, SHORT), (700, 9)))
    criterion = make_criterion(lr_drop_attention_weight=1000.0)  # or it would be lost in the loss
    blockwise = run(criterion, make_model(**SIZES), sample)
    monkeypatch.setattr(attention, "LARGEST_MAP", LONG * LONG)
    dense = run(criterion, make_model(**SIZES), sample)
    assert blockwise[1]["attention_loss"] > 0
    torch.testing.assert_close(blockwise[1]["attention_loss"], dense[1]["attention_loss"])
    assert_same(blockwise, dense, rtol=1e-5, atol=1e-5)
