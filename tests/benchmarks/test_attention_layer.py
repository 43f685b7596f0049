"""The benchmark of one layer by sequence length."""

from __future__ import annotations

import pytest
import torch

from benchmarks import attention_layer
from benchmarks.attention_layer import Measured, Step, find_longest
from benchmarks.processes import KeptProcess


@pytest.mark.parametrize("longest", [256, 700, 1500, 4000, 5000])
@pytest.mark.parametrize("most", [1000, 4096])
def test_the_longest_is_found(monkeypatch: pytest.MonkeyPatch, longest: int, most: int) -> None:
    """To a 1/16 of it, and never one that does not fit or is longer than asked for."""
    monkeypatch.setattr(attention_layer, "_fits", lambda form, length, limit: length <= longest)
    monkeypatch.setattr(attention_layer, "measure", lambda f, t, *_: Measured(f, t, 1.0, 1))
    found = find_longest("dense", 1.0, most, KeptProcess()).length
    expected = min(longest, most)
    assert expected * 15 / 16 <= found <= expected


def test_both_forms_do_the_same_work() -> None:
    gradients = []
    for form in ("dense", "blockwise"):
        step = Step(form, 40)
        step.run()
        gradients.append(step.inputs.grad)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)
