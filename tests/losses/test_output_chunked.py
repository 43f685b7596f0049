"""The chunked form against the plain one: loss and every gradient."""

from __future__ import annotations

import pytest
import torch

from lrdrop_fairseq.losses import output_chunk
from lrdrop_fairseq.losses.output import OutputTerms, output_terms
from lrdrop_fairseq.losses.output_chunked import chunked_output_terms

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor]
Result = tuple[OutputTerms, list[torch.Tensor]]


def make_inputs(
    dtype: torch.dtype,
    tokens: int,
    vocabulary: int,
    bias: bool = False,
    size: float = 1.0,
    passes: int = 2,
) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(tokens, passes, 5, generator=generator) * size
    weight = torch.randn(vocabulary, 5, generator=generator)
    shift = torch.randn(vocabulary, generator=generator) if bias else None
    target = torch.randint(vocabulary, (tokens,), generator=generator)
    floats = [
        None if x is None else x.to(dtype).requires_grad_() for x in (features, weight, shift)
    ]
    return floats[0], floats[1], floats[2], target  # type: ignore[return-value]


def plain(inputs: Inputs, label_smoothing: float, kl_weight: float) -> OutputTerms:
    """The obvious code: logits in the model's dtype, the rest in float32 or float64."""
    features, weight, bias, target = inputs
    logits = torch.nn.functional.linear(features, weight, bias)
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    log_probs = logits.log_softmax(-1, dtype=dtype)
    return output_terms(log_probs, target, label_smoothing, kl_weight, count_correct=True)


def chunked(inputs: Inputs, label_smoothing: float, kl_weight: float) -> OutputTerms:
    return chunked_output_terms(*inputs, label_smoothing, kl_weight, count_correct=True)


def with_gradients(form: object, inputs: Inputs, *options: float) -> Result:
    """Terms and the gradients of three times the objective."""
    terms = form(inputs, *options)  # type: ignore[operator]
    leaves = [x for x in inputs[:3] if x is not None]
    return terms, list(torch.autograd.grad(3 * terms.objective, leaves))


@pytest.mark.parametrize("tokens, vocabulary", [(8, 16), (7, 13), (1, 3)])
@pytest.mark.parametrize("rows", [1, 3, 100])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kl_weight", [0.0, 1e-6, 2.5])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=str
)
def test_equals_the_plain_form(
    tokens: int,
    vocabulary: int,
    rows: int,
    label_smoothing: float,
    kl_weight: float,
    bias: bool,
    dtype: torch.dtype,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(output_chunk, "CPU_CHUNK_LOGITS", 2 * vocabulary * rows)
    inputs = make_inputs(dtype, tokens, vocabulary, bias)
    options = (label_smoothing, kl_weight)
    actual, expected = (with_gradients(f, inputs, *options) for f in (chunked, plain))
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance, check_dtype=False)


@pytest.mark.parametrize("rows", [1, 3, 100])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=str
)
def test_a_single_pass_equals_the_plain_form(
    rows: int,
    label_smoothing: float,
    bias: bool,
    dtype: torch.dtype,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(output_chunk, "CPU_CHUNK_LOGITS", 13 * rows)
    inputs = make_inputs(dtype, 7, 13, bias, passes=1)
    actual, expected = (with_gradients(f, inputs, label_smoothing, 0.0) for f in (chunked, plain))
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance, check_dtype=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kl_weight", [0.0, 2.5])
def test_half_precision_is_no_further_from_the_truth_than_the_plain_form(
    dtype: torch.dtype, kl_weight: float
) -> None:
    inputs = make_inputs(dtype, 7, 13, bias=True)
    double: Inputs = tuple(  # type: ignore[assignment]
        x.detach().double().requires_grad_() if x.is_floating_point() else x  # type: ignore[union-attr]
        for x in inputs
    )
    truth, obvious, ours = (
        with_gradients(form, values, 0.1, kl_weight)
        for form, values in ((plain, double), (plain, inputs), (chunked, inputs))
    )
    pairs = zip([truth[0].objective, *truth[1]], [obvious[0].objective, *obvious[1]],
                [ours[0].objective, *ours[1]])  # fmt: skip
    for expected, theirs, mine in pairs:
        error = (mine.double() - expected).abs().max()
        allowed = (theirs.double() - expected).abs().max()
        # One rounding to the input's dtype may fall the other way.
        rounding = torch.finfo(dtype).eps * expected.abs().max()
        assert error <= allowed + rounding


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_logits_give_no_nan(dtype: torch.dtype) -> None:
    """Logits of thousands: one word takes all the probability, in each pass another one."""
    inputs = make_inputs(dtype, 6, 9, size=1000.0)
    terms, gradients = with_gradients(chunked, inputs, 0.1, 2.5)
    assert terms.objective.isfinite() and terms.symmetric_kl.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_gradients_are_not_flushed_before_the_loss_scale() -> None:
    """A gradient of 1e-9 is 0 in fp16, but not once the loss scale of 2**20 has multiplied it."""
    features = torch.zeros(1, 2, 1, dtype=torch.float16, requires_grad=True)
    weight = torch.tensor([[0.0], [1e-7]], dtype=torch.float16, requires_grad=True)
    terms = chunked_output_terms(features, weight, None, torch.tensor([0]), 0.0, 0.0)
    (terms.objective * 2.0**20).backward()
    assert features.grad is not None and (features.grad > 0).all()


def test_a_second_backward_is_refused() -> None:
    terms = chunked(make_inputs(torch.float32, 7, 13), 0.1, 2.5)
    terms.objective.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="second backward"):
        terms.objective.backward()


def test_a_tie_is_no_correct_prediction() -> None:
    """Without any knowledge word 0 is predicted, as argmax does."""
    features, weight = torch.zeros(4, 2, 3), torch.zeros(5, 3)
    target = torch.tensor([0, 1, 2, 0])
    assert chunked((features, weight, None, target), 0.1, 2.5).correct == 2
    assert plain((features, weight, None, target), 0.1, 2.5).correct == 2


def test_a_frozen_projection_gets_no_gradient() -> None:
    features, weight, _, target = make_inputs(torch.float32, 7, 13)
    terms = chunked_output_terms(features, weight.detach(), None, target, 0.1, 2.5)
    terms.objective.backward()
    expected = with_gradients(chunked, (features, weight, None, target), 0.1, 2.5)[1][0]
    assert features.grad is not None
    torch.testing.assert_close(3 * features.grad, expected)


def test_autocast_changes_nothing_of_a_float32_model() -> None:
    inputs = make_inputs(torch.float32, 7, 13)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = chunked(inputs, 0.1, 2.5)
    torch.testing.assert_close(inside, chunked(inputs, 0.1, 2.5), rtol=0.0, atol=0.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_on_a_gpu(dtype: torch.dtype) -> None:
    inputs = make_inputs(dtype, 70, 130, bias=True)
    moved: Inputs = tuple(x.detach().cuda().requires_grad_(x.is_floating_point()) for x in inputs)  # type: ignore[assignment,union-attr]
    actual, expected = (with_gradients(f, moved, 0.1, 2.5) for f in (chunked, plain))
    # Of the largest: single small ones are at the mercy of where each form rounds.
    tolerance = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 2e-2}[dtype]
    torch.testing.assert_close(
        actual[0], expected[0], rtol=tolerance, atol=tolerance, check_dtype=False
    )
    for ours, theirs in zip(actual[1], expected[1], strict=True):
        error = (ours.float() - theirs.float()).abs().max()
        assert error <= tolerance * theirs.abs().max()


@pytest.mark.parametrize("passes", [1, 2])
def test_a_word_that_is_left_out_is_no_nan(passes: int) -> None:
    features, weight, bias, target = make_inputs(torch.float64, 7, 9, bias=True, passes=passes)
    assert bias is not None
    target.fill_(3)
    with torch.no_grad():
        bias[5] = -float("inf")
    inputs = (features, weight, bias, target)
    actual, expected = (with_gradients(form, inputs, 0.0, 0.0) for form in (chunked, plain))
    torch.testing.assert_close(actual, expected)
    assert actual[0].objective.isfinite()
