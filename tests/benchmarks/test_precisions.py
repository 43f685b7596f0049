"""The check of all precisions finds what it is there to find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from benchmarks.architectures import ARCHITECTURES, SMOKE
from benchmarks.contenders import plain_forms
from benchmarks.precisions import LONG, PRECISIONS, SHORT, compare, update
from lrdrop_fairseq import attention, layer_terms
from lrdrop_fairseq.criterions import next_word as criterion

pytestmark = pytest.mark.slow

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="the flags are those of a CPU")


def changed(function: Any, change: Callable[[Any], Any]) -> Any:
    """The function with its result changed."""
    return lambda *args, **options: change(function(*args, **options))


def times(factor: float, part: str = "objective") -> Callable[[Any], Any]:
    """A result, or this part of it, times ``factor``."""

    def change(result: Any) -> Any:
        if isinstance(result, tuple):
            return result._replace(**{part: getattr(result, part) * factor})
        return result * factor

    return change


def value_times(factor: float) -> Callable[[Tensor], Tensor]:
    """A result times ``factor``, its gradient as it was."""
    return lambda result: result + (factor - 1) * result.detach()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_both_paths_of_attention_are_taken(architecture: str) -> None:
    """Maps that are formed, and long ones that are not: in the plain forms all of them are."""
    trainer, batches = ARCHITECTURES[architecture](architecture, SMOKE, [])
    widths = [batch["net_input"]["src_tokens"].size(1) for batch in batches]
    assert widths[0] ** 2 < attention.LARGEST_MAP < widths[1] ** 2
    called: list[Any] = []
    original = torch.nn.functional.scaled_dot_product_attention

    def watched(*args: Any, **options: Any) -> Any:
        called.append(args[0].shape)
        return original(*args, **options)

    with mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", watched):
        trainer.train_step(batches)
        modules = len(called)
        with plain_forms():
            trainer.train_step(batches)
    assert modules == len(called) > 0


@without_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("owner", "name", "change", "deviating"),
    [
        # in LR-Drop's own form alone
        (criterion, "chunked_output_terms", times(1.04), ["loss", "gradient"]),
        (layer_terms, "blockwise_attention_distance", value_times(3.0), ["loss", "attention"]),
        (layer_terms, "blockwise_attention_distance", Tensor.detach, ["gradient"]),
        (layer_terms, "blockwise_attention_distance", lambda distance: distance, []),
    ],
)
def test_what_deviates_is_found(
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    change: Callable[[Any], Any],
    deviating: list[str],
    precision: str,
) -> None:
    """Of long sentences alone, too."""
    monkeypatch.setattr(owner, name, changed(getattr(owner, name), change))
    row = compare("lr_drop_transformer", precision, SMOKE)
    assert row["status"] == ("deviates" if deviating else "ok")
    limits = PRECISIONS[precision]
    for key in ("loss", "task", "hidden", "attention", "output", "gradient"):
        assert (row[f"{key}_deviation"] > limits.limit(key)) == (key in deviating), key


@without_gpu
@pytest.mark.parametrize("architecture", ["lr_drop_bart", "lr_drop_roberta"])
def test_long_sentences_without_a_gradient_are_found(
    monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    name = "blockwise_attention_distance"
    monkeypatch.setattr(layer_terms, name, changed(getattr(layer_terms, name), Tensor.detach))
    assert compare(architecture, "bf16", SMOKE)["status"] == "deviates"


@without_gpu
@pytest.mark.parametrize("flag", ["hidden", "attention", "output"])
def test_a_term_that_is_missing_is_an_error(flag: str) -> None:
    with pytest.raises(RuntimeError, match=f"the {flag} term is 0"):
        update("lr_drop_roberta", SMOKE, [f"--lr-drop-{flag}-weight=0"], plain_forms, SHORT)


@without_gpu
def test_what_is_not_finite_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "chunked_output_terms"
    monkeypatch.setattr(
        criterion, name, changed(getattr(criterion, name), times(float("inf"), "nll"))
    )
    with pytest.raises(RuntimeError, match="the task term is inf"):
        compare("lr_drop_transformer", "fp32", SMOKE)


def test_gradients_are_those_of_the_optimizers_step() -> None:
    """In half precision they are scaled until then: as large as in float32, but for rounding."""
    norms = [
        update("lr_drop_bart", SMOKE, flags, plain_forms, LONG).gradient.norm()
        for flags in (["--cpu"], ["--cpu", "--memory-efficient-fp16", "--fp16-init-scale=64"])
    ]
    assert norms[1] == pytest.approx(float(norms[0]), rel=0.02)
