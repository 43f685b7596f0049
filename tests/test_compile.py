"""torch.compile: the loss, the logged terms and the gradients of the uncompiled model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from lrdrop_fairseq import attention
from lrdrop_fairseq.output_layer import chunking_obstacle
from lrdrop_fairseq.wrappers import unwrap
from tests.toy import TERMS, assert_same, gradients, make_criterion, make_model, make_sample, run
from tests.toy_sentences import make_sentence_criterion, make_sentence_model, make_sentences

SMALL = dict(encoder_layers=1, decoder_layers=1, dropout=0.3)


def whole(model: Any, backend: str) -> Any:
    return torch.compile(model, backend=backend)


def in_place(model: Any, backend: str) -> Any:
    model.compile(backend=backend)
    return model


def decoder(model: Any, backend: str) -> Any:
    model.decoder = torch.compile(model.decoder, backend=backend)
    return model


def layer(model: Any, backend: str) -> Any:
    model.encoder.layers[0] = torch.compile(model.encoder.layers[0], backend=backend)
    return model


@pytest.fixture(autouse=True)
def fresh_compiler() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


@pytest.mark.parametrize(
    ("compiled", "backend", "largest_map", "options"),
    [
        (whole, "eager", 256, {"attention_dropout": 0.2}),
        pytest.param(in_place, "eager", 0, {}, marks=pytest.mark.long),
        pytest.param(decoder, "eager", 256, {}, marks=pytest.mark.long),
        (layer, "eager", 0, {}),
        (whole, "eager", 256, {"checkpoint_activations": True}),
        pytest.param(
            decoder, "aot_eager", 256, {"share_all_embeddings": True}, marks=pytest.mark.long
        ),
    ],
)
def test_training_is_that_of_the_uncompiled_model(
    monkeypatch: pytest.MonkeyPatch,
    compiled: Callable[[Any, str], Any],
    backend: str,
    largest_map: int,
    options: dict[str, Any],
) -> None:
    monkeypatch.setattr(attention, "LARGEST_MAP", largest_map)
    model = make_model(**SMALL, **options)
    expected = run(make_criterion(), model, make_sample())
    names = {parameter: name for name, parameter in model.named_parameters()}
    model = compiled(model, backend)
    assert chunking_obstacle(model) is None
    loss, log, _ = run(make_criterion(), model, make_sample())
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0  # something was compiled
    found = {names[p]: p.grad for p in model.parameters() if p.grad is not None}
    assert_same((loss, log, found), expected, rtol=1e-5, atol=1e-5)
    for name in TERMS:
        torch.testing.assert_close(log[name], expected[1][name], rtol=1e-5, atol=1e-6)


def test_prediction_of_sentences_is_that_of_the_uncompiled_model() -> None:
    model = make_sentence_model("lr_drop_roberta", **SMALL)
    sample = make_sentences()
    expected = run(make_sentence_criterion(), model, sample)
    compiled = torch.compile(model, backend="eager")
    actual = run(make_sentence_criterion(), compiled, sample)
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0
    assert actual[1].keys() == expected[1].keys()
    assert_same((*actual[:2], gradients(model)), expected, rtol=1e-5, atol=1e-5)


def test_nothing_compiled_for_one_kind_of_pass_serves_another() -> None:
    """Layers are recorded by hooks that come and go, and compiled code may not notice them."""
    model = make_model(**SMALL)
    plain = make_criterion("label_smoothed_cross_entropy")
    hidden = make_criterion(lr_drop_attention_weight=0.0, lr_drop_output_weight=0.0)
    steps = [plain, make_criterion(), plain, hidden, make_criterion()]

    def losses(model: Any) -> list[Any]:
        results = []
        for criterion in steps:
            results.append(run(criterion, model.train(), make_sample())[0])
            results.append(criterion(model.eval(), make_sample())[0])
        return results

    expected = losses(model)
    torch.testing.assert_close(losses(decoder(model, "eager")), expected)


def test_every_wrapper_is_seen_through(tmp_path: Any) -> None:
    """In the order of the wrappers, and none left out: DDP's options decide what is possible."""
    from fairseq.distributed import ModuleProxyWrapper

    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meeting_point", rank=0, world_size=1
    )
    try:
        model = make_model(**SMALL)
        parallel = DistributedDataParallel(model, find_unused_parameters=True)
    finally:
        torch.distributed.destroy_process_group()
    proxy = ModuleProxyWrapper(parallel)
    compiled = torch.compile(proxy)
    assert unwrap(compiled) == [compiled, proxy, parallel, model]
    assert unwrap(model) == [model] and unwrap(None) == [None]
    assert "--find-unused-parameters" in str(chunking_obstacle(torch.compile(parallel)))
