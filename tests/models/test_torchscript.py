"""torch.jit.script of an exposing model: fairseq's, with the same outputs and translations."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from fairseq.sequence_generator import SequenceGenerator

from lrdrop_fairseq.attention import exposed_attentions
from tests.toy import assert_same, make_criterion, make_model, make_sample, make_task, run

SMALL = dict(encoder_layers=1, decoder_layers=1, dropout=0.3)


def script(module: Any) -> Any:
    """Scripted, saved and loaded."""
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(module), file)
    file.seek(0)
    return torch.jit.load(file)


def arguments(sample: Any) -> Any:
    return [sample["net_input"][n] for n in ("src_tokens", "src_lengths", "prev_output_tokens")]


@pytest.mark.parametrize(
    "options", [{"no_token_positional_embeddings": True}, {"arch": "lr_drop_bart_base"}]
)
def test_a_scripted_model_computes_what_the_model_does(options: Any) -> None:
    model = make_model(**{**SMALL, "task": "translation", **options})
    inputs = arguments(make_sample())
    before = run(make_criterion(), model, make_sample())
    scripted = script(model.eval())
    torch.testing.assert_close(scripted(*inputs)[0], model(*inputs)[0])
    # The model itself still trains as it did.
    assert exposed_attentions(model)
    after = run(make_criterion(), model.train(), make_sample())
    assert_same(after, before, rtol=0.0, atol=0.0)


def test_a_beam_search_is_scripted() -> None:
    model, sample = make_model(**SMALL).eval(), make_sample()
    options = dict(beam_size=2, no_repeat_ngram_size=2, max_len_b=5)
    generator = SequenceGenerator([model], make_task().target_dictionary, **options)
    expected = generator.generate([model], sample)
    inputs = {name: sample["net_input"][name] for name in ("src_tokens", "src_lengths")}
    for found, wanted in zip(script(generator)({"net_input": inputs}), expected, strict=True):
        for a, b in zip(found, wanted, strict=True):
            assert torch.equal(a["tokens"], b["tokens"])
            torch.testing.assert_close(a["score"], b["score"])
