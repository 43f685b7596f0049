"""The dropout of the siamese passes on a CPU."""

from __future__ import annotations

import pytest
import torch

from lrdrop_fairseq.dropout import LeanDropout, keep_mask
from tests.toy import make_criterion, make_model, make_sample


def lean(p: float) -> LeanDropout:
    module = LeanDropout(p)
    module.lean = True
    return module.train()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_what_is_kept_is_scaled_and_so_is_its_gradient(dtype: torch.dtype) -> None:
    x = torch.full((3, 5, 7), 2.0, dtype=dtype, requires_grad=True)
    y = lean(0.25)(x)
    y.backward(torch.full_like(x, 3.0))
    kept = y != 0
    assert kept.any() and not kept.all() and y.dtype == dtype
    scale = torch.ones((), dtype=dtype) * (1 / 0.75)
    assert torch.equal(y, torch.where(kept, 2 * scale, 0))
    assert x.grad is not None and torch.equal(x.grad, torch.where(kept, 3 * scale, 0))


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9])
def test_numbers_are_dropped_with_the_probability_asked_for(p: float) -> None:
    """Among a million, the share differs by less than five standard deviations; so it does in
    each of the two lanes that share 64 random bits, and the lanes are independent."""
    torch.manual_seed(0)
    dropped = ~keep_mask(torch.empty(1_000_000), p)
    both = dropped[::2] & dropped[1::2]
    for share, expected, n in (
        (dropped[::2], p, 500_000),
        (dropped[1::2], p, 500_000),
        (both, p * p, 500_000),
        (dropped[:-1] & dropped[1:], p * p, 999_999),
    ):
        deviation = (expected * (1 - expected) / n) ** 0.5
        assert abs(share.double().mean().item() - expected) < 5 * deviation


def test_the_seed_decides_and_every_call_draws_anew() -> None:
    x = torch.ones(101)
    torch.manual_seed(1)
    first, second = lean(0.5)(x), lean(0.5)(x)
    torch.manual_seed(1)
    assert torch.equal(lean(0.5)(x), first) and not torch.equal(first, second)


def test_otherwise_it_is_fairseqs() -> None:
    """Not lean, or not training, or nothing to draw."""
    x = torch.ones(64)
    module = LeanDropout(0.5).train()
    torch.manual_seed(1)
    expected = torch.nn.functional.dropout(x, 0.5)
    torch.manual_seed(1)
    assert torch.equal(module(x), expected)
    module.lean = True
    assert module.eval()(x) is x
    assert torch.equal(lean(0.0)(x), x)
    assert not lean(1.0)(x).any()


def test_one_byte_per_number_is_kept_for_the_backward() -> None:
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        lean(0.5)(torch.ones(64, requires_grad=True))
    assert [t.element_size() for t in kept] == [1]


@pytest.mark.parametrize("p", [-1.0, 1.0, 2.0, float("nan")])
@pytest.mark.parametrize("option", ["dropout", "attention_dropout", "activation_dropout"])
def test_what_is_no_probability_is_refused_at_start_up(option: str, p: float) -> None:
    """fairseq takes -1 and nan for no dropout, without a word."""
    with pytest.raises(ValueError, match=r"(en|de)coder\..* has a dropout of .*--dropout"):
        make_model(**{"dropout": 0.1, option: p})
    # An architecture without the mixin: before the first update.
    criterion = make_criterion(lr_drop_hidden_weight=0.0, lr_drop_attention_weight=0.0)
    model = make_model("transformer", **{"dropout": 0.1, option: p})
    with pytest.raises(ValueError, match="has a dropout of"):
        criterion(model, make_sample())


@pytest.mark.parametrize("p", [-1.0, 2.0, float("nan")])
def test_what_is_no_layerdrop_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="--decoder-layerdrop is"):
        make_model(decoder_layerdrop=p)
