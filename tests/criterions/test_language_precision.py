"""Half precision of language models, see :mod:`tests.criterions.test_precision`."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.criterions import test_precision as precision
from tests.criterions.test_precision import FP16_ON_CPU, MAPS, ON_CPU, check_forms, train
from tests.toy import TERMS
from tests.toy_language import make_language_trainer, make_text_batch

pytestmark = pytest.mark.slow

SAMPLES = [make_text_batch(), make_text_batch([4, 6], seed=5)]
HALF = [
    (FP16_ON_CPU, torch.float16),
    (("--memory-efficient-fp16",), torch.float16),
    (("--bf16",), torch.bfloat16),
    (("--memory-efficient-bf16",), torch.bfloat16),
]
ADAPTIVE = ("--adaptive-softmax-cutoff=10,20", "--adaptive-softmax-factor=2", "--adaptive-input",
            "--adaptive-input-cutoff=10,20", "--adaptive-input-factor=2",
            "--tie-adaptive-weights")  # fmt: skip


@pytest.fixture(autouse=True)
def language_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "make_trainer", make_language_trainer)
    monkeypatch.setattr(precision, "SAMPLES", SAMPLES)


@pytest.mark.parametrize("n_batches", [1, 2])
@pytest.mark.parametrize(("flags", "dtype"), HALF)
def test_half_precision(flags: tuple[str, ...], dtype: torch.dtype, n_batches: int) -> None:
    check_forms(flags, n_batches, ON_CPU, dtype)


@pytest.mark.parametrize(("flags", "dtype"), HALF)
def test_an_adaptive_softmax_in_half_precision(flags: tuple[str, ...], dtype: Any) -> None:
    """Terms and gradient are a few roundings from those of float32."""
    truth = train((*ADAPTIVE, *ON_CPU), "plain", MAPS, dtype)
    actual = train((*ADAPTIVE, *ON_CPU, *flags), "chunked", MAPS)
    rounding = torch.finfo(dtype).eps
    for name in TERMS:
        assert abs(actual[0][name] - truth[0][name]) <= 4 * rounding * truth[0][name], name
    assert actual[1].keys() == truth[1].keys()
    errors = [(actual[1][name] - value).norm() for name, value in truth[1].items()]
    norms = [value.norm() for value in truth[1].values()]
    assert torch.stack(errors).norm() <= 4 * rounding * torch.stack(norms).norm()
