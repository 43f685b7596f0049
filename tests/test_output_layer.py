"""When the output loss may go from features to the loss by one matrix, and when not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from lrdrop_fairseq.models.transformer import LRDropTransformer
from lrdrop_fairseq.output_layer import chunking_obstacle, output_projection
from tests.toy import make_criterion, make_model, make_sample, run


class OwnLinear(torch.nn.Linear):
    pass


class OwnNormalization(LRDropTransformer):
    def get_normalized_probs(self, *args: Any, **kwargs: Any) -> Any:
        return super().get_normalized_probs(*args, **kwargs)


def own_projection(model: Any) -> Any:
    model.decoder.output_projection = OwnLinear(16, 31)
    return model


def with_hook(model: Any) -> Any:
    model.decoder.output_projection.register_forward_pre_hook(lambda module, args: None)
    return model


def own_output_layer(model: Any) -> Any:
    base = type(model.decoder)
    model.decoder.__class__ = type("Own", (base,), {"output_layer": lambda self, x: x})
    return model


def own_normalization(model: Any) -> Any:
    model.__class__ = OwnNormalization
    return model


@pytest.mark.parametrize(
    "change, obstacle",
    [
        (own_projection, "no plain linear output projection"),
        (with_hook, "a hook on the model, its decoder or its output projection"),
        (own_output_layer, "a model with a forward or an output of its own"),
        (own_normalization, "a model with a forward or an output of its own"),
    ],
)
def test_obstacles(change: Callable[[Any], Any], obstacle: str) -> None:
    model = make_model()
    assert output_projection(model) is model.decoder.output_projection
    model = change(model)
    assert chunking_obstacle(model) == obstacle and output_projection(model) is None


def test_stock_architectures_have_no_obstacle() -> None:
    assert chunking_obstacle(make_model("transformer")) is None
    adaptive = make_model("transformer", adaptive_softmax_cutoff="10,20")
    assert chunking_obstacle(adaptive) == "adaptive softmax"


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("find_unused", [False, True])
def test_gradients_under_ddp_are_those_without(
    tied: bool, find_unused: bool, tmp_path: Path
) -> None:
    """One gloo process through fairseq's proxy of torch's DistributedDataParallel."""
    from fairseq.distributed import ModuleProxyWrapper

    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meeting_point", rank=0, world_size=1
    )
    try:
        model = make_model(dropout=0.3, share_all_embeddings=tied)
        expected = run(make_criterion(), model, make_sample())
        parallel = DistributedDataParallel(model, find_unused_parameters=find_unused)
        wrapped = ModuleProxyWrapper(parallel)
        model.zero_grad()
        torch.manual_seed(3)
        loss, _, _ = make_criterion()(wrapped, make_sample())
        loss.backward()
    finally:
        torch.distributed.destroy_process_group()
    torch.testing.assert_close(loss.detach(), expected[0])
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[2][name], rtol=1e-4, atol=1e-5)
    assert (chunking_obstacle(wrapped) is None) == (tied or not find_unused)
