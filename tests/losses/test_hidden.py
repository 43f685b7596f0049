from __future__ import annotations

import pytest
import torch

from lrdrop_fairseq.losses.hidden import hidden_state_distance


def summed(states: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
    return hidden_state_distance(states).masked_fill(padding, 0.0).sum()


def test_value_and_gradient_by_hand() -> None:
    """B = 1, T = 2, C = 2; the second token is padding.

    h1 = (1, 2), h2 = (4, 0): ((1 - 4)^2 + (2 - 0)^2) / 2 = 13 / 2.
    d/dh1 = 2 (h1 - h2) / 2 = (-3, 2), and the opposite for h2; none at the padding.
    """
    # T x 2B x C
    states = torch.tensor(
        [[[1.0, 2.0], [4.0, 0.0]], [[5.0, 6.0], [7.0, 9.0]]], dtype=torch.float64
    ).requires_grad_()
    loss = summed(states, torch.tensor([[False, True]]))
    loss.backward()
    assert loss.item() == 6.5
    assert states.grad is not None
    assert states.grad.tolist() == [[[-3.0, 2.0], [3.0, -2.0]], [[0.0, 0.0], [0.0, 0.0]]]


def test_swapping_the_passes_changes_nothing() -> None:
    states = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(0))
    distance = hidden_state_distance(states)
    assert distance.shape == (3, 5)
    assert torch.equal(distance, hidden_state_distance(states.roll(3, 1)))


def test_the_batch_is_the_sum_of_its_sentences() -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(5, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    padding = torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 1, 1]]).bool()
    parts = [
        summed(states[:, [0, 2]], padding[:1]),
        # Without its padding columns: they add nothing.
        summed(states[:3, [1, 3]], padding[1:, :3]),
    ]
    whole = summed(states, padding)
    assert whole > 1
    torch.testing.assert_close(sum(parts), whole)
    gradients = [torch.autograd.grad(loss, states)[0] for loss in (*parts, whole)]
    torch.testing.assert_close(gradients[0] + gradients[1], gradients[2])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    """A difference of 300 squared is beyond the largest fp16 number."""
    states = torch.tensor([[[300.0], [0.0]]], dtype=dtype, requires_grad=True)
    loss = hidden_state_distance(states)
    assert loss.dtype == torch.float32
    assert loss.item() == states.detach()[0, 0, 0].float().item() ** 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_gradients_are_those_of_the_formula_and_the_states_alone_are_kept(
    dtype: torch.dtype,
) -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(5, 6, 7, generator=generator, dtype=torch.float64).to(dtype)
    weights = torch.rand(3, 5, generator=generator)
    weights[1, 2] = 0.0  # padding

    exact = states.double().requires_grad_()
    first, second = exact[:, :3], exact[:, 3:]
    expected = ((first - second) ** 2).mean(dim=-1).t()
    (expected * weights).sum().backward()

    states.requires_grad_()
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.append(x), x)[1], lambda x: x):
        distance = hidden_state_distance(states)
    assert [x.data_ptr() for x in kept] == [states.data_ptr()]
    (distance * weights).sum().backward()
    assert states.grad is not None and exact.grad is not None and states.grad.dtype == dtype
    tolerance = {"rtol": max(1e-6, torch.finfo(dtype).eps), "atol": 1e-6, "check_dtype": False}
    torch.testing.assert_close(distance, expected, rtol=1e-6, atol=1e-6, check_dtype=False)
    torch.testing.assert_close(states.grad, exact.grad, **tolerance)
