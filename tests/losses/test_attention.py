from __future__ import annotations

import math

import pytest
import torch

from lrdrop_fairseq.losses.attention import (
    attention_map_distance,
    attention_probabilities,
    mask_of_one_pass,
    visible_keys,
)

INF = float("inf")


def two_passes(first: list[list[float]], second: list[list[float]]) -> torch.Tensor:
    """B = 1, H = 1: 2 x 1 x T x S."""
    return torch.tensor([[first], [second]], dtype=torch.float64)


def test_probabilities_by_hand() -> None:
    """D = 1, scale 1: scores 0 and log 3 give 1/4 and 3/4; a masked key gets exactly 0."""
    query = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    key = torch.tensor([0.0, math.log(3), 7.0], dtype=torch.float64).view(1, 1, 3, 1)
    mask = torch.tensor([[0.0, 0.0, -INF]], dtype=torch.float64)
    probabilities = attention_probabilities(query, key, 1.0, mask)
    torch.testing.assert_close(
        probabilities.flatten(), torch.tensor([0.25, 0.75, 0.0], dtype=torch.float64)
    )
    assert probabilities[0, 0, 0, 2] == 0


def test_a_query_without_visible_keys_is_no_nan() -> None:
    mask = torch.full((1, 2), -INF)
    probabilities = attention_probabilities(
        torch.randn(1, 1, 1, 2), torch.randn(1, 1, 2, 2), 1.0, mask
    )
    assert probabilities.flatten().tolist() == [0.5, 0.5]


def test_value_by_hand() -> None:
    """T = S = 2, causal, one head.

    Query 0 sees one key: both maps (1, 0), loss 0.
    Query 1 sees two keys: (0.5, 0.5) against (0.25, 0.75), (0.25^2 + 0.25^2) / 2 = 1/16.
    """
    maps = two_passes([[1.0, 0.0], [0.5, 0.5]], [[1.0, 0.0], [0.25, 0.75]])
    causal = torch.tensor([[0.0, -INF], [0.0, 0.0]])
    assert attention_map_distance(maps, causal).tolist() == [[0.0, 1 / 16]]


def test_heads_are_averaged() -> None:
    """Two heads, one query, two keys: (0.02 / 2 + 0.5 / 2) / 2 = 0.13."""
    maps = torch.tensor([[[[0.5, 0.5]], [[1.0, 0.0]]], [[[0.4, 0.6]], [[0.5, 0.5]]]])
    distance = attention_map_distance(maps)
    torch.testing.assert_close(distance, torch.tensor([[(0.02 / 2 + 0.5 / 2) / 2]]))


def random_module(
    batch: int, queries: int, keys: int, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor]:
    """Query and key of two passes, four heads, three features."""
    generator = torch.Generator().manual_seed(0)
    options = {"generator": generator, "dtype": dtype}
    return (
        torch.randn(2 * batch, 4, queries, 3, **options),  # type: ignore[call-overload]
        torch.randn(2 * batch, 4, keys, 3, **options),  # type: ignore[call-overload]
    )


def loss_of(
    query: torch.Tensor,
    key: torch.Tensor,
    padding: torch.Tensor,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    distance = attention_map_distance(attention_probabilities(query, key, 0.5, mask), mask)
    return distance.masked_fill(padding, 0.0).sum()


def test_swapping_the_passes_changes_nothing() -> None:
    query, key = random_module(3, 4, 5)
    padding = torch.zeros(3, 4, dtype=torch.bool)
    torch.testing.assert_close(
        loss_of(query, key, padding), loss_of(query.roll(3, 0), key.roll(3, 0), padding)
    )


def test_padding_adds_nothing_and_the_batch_is_the_sum_of_its_sentences() -> None:
    query, key = (x.requires_grad_() for x in random_module(2, 4, 5))
    query_padding = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 1]]).bool()
    key_padding = torch.tensor([[0, 0, 0, 0, 0], [1, 1, 0, 0, 0]]).bool()
    mask = torch.zeros(2, 1, 1, 5, dtype=torch.float64)
    mask.masked_fill_(key_padding[:, None, None], -INF)
    whole = loss_of(query, key, query_padding, mask.repeat(2, 1, 1, 1))
    parts = [
        loss_of(query[[0, 2]], key[[0, 2]], query_padding[:1]),
        loss_of(query[[1, 3], :, :2], key[[1, 3], :, 2:], query_padding[1:, :2]),
    ]
    assert whole > 0.01
    torch.testing.assert_close(whole, sum(parts))
    gradients = [torch.autograd.grad(loss, (query, key)) for loss in (*parts, whole)]
    for first, second, total in zip(*gradients):
        torch.testing.assert_close(first + second, total)


def test_gradients() -> None:
    query, key = random_module(2, 2, 3)
    mask = torch.zeros(4, 1, 1, 3, dtype=torch.float64)
    mask[[1, 3], :, :, 2] = -INF
    padding = torch.tensor([[False, False], [False, True]])
    assert torch.autograd.gradcheck(
        lambda q, k: loss_of(q, k, padding, mask), (query.requires_grad_(), key.requires_grad_())
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_survives_extreme_scores(dtype: torch.dtype) -> None:
    """Scores of 1e6 overflow fp16; the loss and its gradients must not."""
    query, key = random_module(2, 3, 3, torch.float32)
    query = (query * 1000).to(dtype).requires_grad_()
    key = (key * 1000).to(dtype).requires_grad_()
    mask = torch.zeros(3, 3, dtype=dtype).masked_fill(torch.ones(3, 3).triu(1).bool(), -INF)
    loss = loss_of(query, key, torch.zeros(2, 3, dtype=torch.bool), mask)
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite() and loss > 0
    assert query.grad is not None and query.grad.isfinite().all()
    assert key.grad is not None and key.grad.isfinite().all()


def test_autocast_changes_nothing() -> None:
    """Two passes that nearly agree: rounded to bfloat16 their distance would be pure noise."""
    query, key = (x.detach() for x in random_module(2, 3, 5, torch.float32))
    query = torch.cat([query[:2], query[:2] + 1e-3]).requires_grad_()
    key = torch.cat([key[:2], key[:2]]).requires_grad_()
    padding = torch.zeros(2, 3, dtype=torch.bool)

    expected = loss_of(query, key, padding)
    # As in training, the backward runs outside.
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = loss_of(query, key, padding)
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=0.0)
    gradients = [torch.autograd.grad(loss, (query, key)) for loss in (actual, expected)]
    torch.testing.assert_close(*gradients, rtol=0.0, atol=0.0)


def test_visible_keys_of_every_shape_of_mask() -> None:
    causal = torch.zeros(3, 3).masked_fill(torch.ones(3, 3).triu(1).bool(), -INF)
    padding = torch.tensor([[0.0, 0.0, -INF], [0.0, 0.0, 0.0]]).repeat(2, 1)[:, None, None]

    def count(mask: torch.Tensor) -> list[list[int]]:
        counts = visible_keys(mask_of_one_pass(mask), 3)
        assert isinstance(counts, torch.Tensor)
        return counts.tolist()  # type: ignore[no-any-return]

    assert visible_keys(None, 3) == 3
    assert count(causal) == [[1, 2, 3]]
    for finite in (-1e8, -1e4):  # of fairseq's encoder layer, in single and in half precision
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            assert count(causal.clamp_min(finite).to(dtype).clamp_min(-6e4)) == [[1, 2, 3]]
    assert count(padding) == [[2], [3]]
    assert count(causal + padding) == [[1, 2, 2], [1, 2, 3]]
    assert count(torch.full((3, 3), -INF)) == [[1, 1, 1]]
