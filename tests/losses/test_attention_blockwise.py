"""The blockwise form against the plain one: loss and every gradient."""

from __future__ import annotations

import pytest
import torch

from lrdrop_fairseq.losses import attention_blockwise
from lrdrop_fairseq.losses.attention import attention_map_distance, attention_probabilities
from lrdrop_fairseq.losses.attention_blockwise import blockwise_attention_distance

INF = float("inf")
Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]
# Sentences, heads, queries, keys.
B, H, T, S = 3, 2, 7, 5


def make_inputs(mask: str, dtype: torch.dtype = torch.float64, size: float = 1.0) -> Inputs:
    """Query, key, padding of the queries, mask; as the model lays them out (time first)."""
    generator = torch.Generator().manual_seed(0)
    n_keys = T if mask in ("causal", "both") else S
    query, key = (
        (torch.randn(n, 2 * B, H, 3, generator=generator) * size)
        .to(dtype)
        .requires_grad_()
        .permute(1, 2, 0, 3)
        for n in (T, n_keys)
    )
    padding = torch.zeros(B, T, dtype=torch.bool)
    padding[1, 5:] = padding[2, :3] = True
    causal = torch.zeros(T, T, dtype=dtype).masked_fill(torch.ones(T, T).triu(1).bool(), -INF)
    keys = torch.zeros(B, 1, 1, n_keys, dtype=dtype)
    keys[0, ..., 3:] = keys[2, ..., :2] = -INF
    keys = keys.repeat(2, 1, 1, 1)
    masks = {"none": None, "causal": causal, "padding": keys}
    return query, key, padding, masks[mask] if mask in masks else causal + keys


def plain(
    query: torch.Tensor, key: torch.Tensor, scale: float, mask: torch.Tensor | None
) -> torch.Tensor:
    return attention_map_distance(attention_probabilities(query, key, scale, mask), mask)


def with_gradients(form: object, inputs: Inputs) -> list[torch.Tensor]:
    """Distances, and the gradients of their weighted sum."""
    query, key, padding, mask = inputs
    distance = form(query, key, 0.5, mask)  # type: ignore[operator]
    weights = torch.linspace(1, 3, padding.numel()).view_as(padding).to(distance)
    loss = (distance * weights).masked_fill(padding.to(distance.device), 0.0).sum()
    return [distance.detach(), *torch.autograd.grad(loss, (query, key))]


@pytest.mark.parametrize("mask", ["none", "causal", "padding", "both"])
@pytest.mark.parametrize("budget", [1, 3 * 2 * H * T, 2 * H * T * T * 2, 1 << 20])
@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=str
)
def test_equals_the_plain_form(
    mask: str, budget: int, dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of one query, of some queries, of two whole sentences and of all of them."""
    monkeypatch.setattr(attention_blockwise, "CPU_BLOCK_PROBABILITIES", budget)
    inputs = make_inputs(mask, dtype)
    actual, expected = (with_gradients(f, inputs) for f in (blockwise_attention_distance, plain))
    assert expected[0].shape == (B, T) and expected[0].max() > 0.01
    assert min(gradient.abs().max() for gradient in expected[1:]) > 0.01
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    """The gradients are rounded to the dtype of the queries: once per block instead of once."""
    inputs = make_inputs("both", dtype)
    actual, expected = (with_gradients(f, inputs) for f in (blockwise_attention_distance, plain))
    assert actual[0].dtype == torch.float32
    torch.testing.assert_close(actual[0], expected[0])
    tolerance = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(actual[1:], expected[1:], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_survives_extreme_scores(dtype: torch.dtype) -> None:
    inputs = make_inputs("both", dtype, 1000.0)
    distance, *gradients = with_gradients(blockwise_attention_distance, inputs)
    assert distance.isfinite().all() and distance.max() > 0
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_no_map_is_kept() -> None:
    """What autograd keeps between forward and backward grows with the length, not its square."""

    def kept(length: int) -> int:
        total = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += tensor.numel()
            return tensor

        query, key = (torch.randn(2, H, length, 3, requires_grad=True) for _ in range(2))
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            blockwise_attention_distance(query, key, 0.5)
        return total

    assert kept(512) <= 2 * kept(256)


def test_autocast_changes_nothing() -> None:
    query, key, _, mask = make_inputs("both", torch.float32)
    expected = blockwise_attention_distance(query, key, 0.5, mask)
    # As in training, the backward runs outside.
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = blockwise_attention_distance(query, key, 0.5, mask)
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=0.0)
    gradients = [torch.autograd.grad(d.sum(), (query, key)) for d in (actual, expected)]
    torch.testing.assert_close(*gradients, rtol=0.0, atol=0.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_on_a_gpu(dtype: torch.dtype) -> None:
    query, key, padding, mask = make_inputs("both", dtype)
    moved = (
        query.detach().cuda().requires_grad_(),
        key.detach().cuda().requires_grad_(),
        padding.cuda(),
        None if mask is None else mask.cuda(),
    )
    actual, expected = (with_gradients(f, moved) for f in (blockwise_attention_distance, plain))
    tolerance = 4 * torch.finfo(dtype).eps if dtype != torch.float32 else 1e-5
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
