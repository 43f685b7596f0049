"""Makes any architecture derived from fairseq's Transformer expose its layer states."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

from fairseq.models.transformer import TransformerDecoderBase, TransformerEncoderBase
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lrdrop_fairseq.attention import ExposedAttention
from lrdrop_fairseq.layer_states import Attention, LayerStates


class ExposesLayerStates:
    """Mixin that goes in front of a fairseq model class; that line is all an architecture needs.

    ::

        @register_model("my_lr_drop_transformer")
        class MyLRDropTransformer(ExposesLayerStates, MyTransformer):
            pass

    Parameters, their names, evaluation and generation stay those of the model class.
    """

    @classmethod
    def build_model(cls, *args: Any, **kwargs: Any) -> Any:
        """Build the model, then turn its attention modules into exposable ones."""
        model = super().build_model(*args, **kwargs)  # type: ignore[misc]
        for module in list(model.modules()):
            if isinstance(module, MultiheadAttention) and not isinstance(module, ExposedAttention):
                ExposedAttention.adopt(module)
            if "precheckpoint_forward" in vars(module):
                _expose_through_checkpoint(module)
        return model

    def forward(
        self, *args: Any, expose_hidden: bool = False, expose_attention: bool = False, **kwargs: Any
    ) -> Any:
        """The model's forward; its ``extra`` dictionary also gets ``"layer_states"`` if asked.

        Args:
            expose_hidden: record the output of every layer.
            expose_attention: record queries, keys and masks of every attention module.
        """
        if not (expose_hidden or expose_attention):
            return super().forward(*args, **kwargs)  # type: ignore[misc]
        with record_layer_states(self, expose_hidden, expose_attention) as states:
            x, extra = super().forward(*args, **kwargs)  # type: ignore[misc]
        return x, {**extra, "layer_states": states}


@contextmanager
def record_layer_states(model: Any, hidden: bool, attention: bool) -> Iterator[LayerStates]:
    """Record what the layers of ``model`` do inside the block; cost-free outside of it."""
    states = LayerStates()
    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, TransformerEncoderBase):
                hidden_states = states.encoder_hidden
                listeners = (states.encoder_self_attention, states.encoder_self_attention)
            elif isinstance(module, TransformerDecoderBase):
                hidden_states = states.decoder_hidden
                listeners = (states.decoder_self_attention, states.cross_attention)
            else:
                continue
            if hidden:
                stack.enter_context(_record_outputs(module, hidden_states))
            if attention:
                stack.enter_context(_listen(module, *listeners))
        yield states


@contextmanager
def _record_outputs(transformer: Any, outputs: list[Tensor]) -> Iterator[None]:
    """Append the output of each layer that runs to ``outputs``."""

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        outputs.append(output[0] if isinstance(output, tuple) else output)

    # children() and not iter(layers): iterating a LayerDropModuleList draws which layers to drop.
    handles = [layer.register_forward_hook(hook) for layer in transformer.layers.children()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _listen(
    module: nn.Module, self_attention: list[Attention], cross_attention: list[Attention]
) -> Iterator[None]:
    """Let every attention module inside ``module`` record itself to one of the two lists."""
    exposed = [m for m in module.modules() if isinstance(m, ExposedAttention)]
    before = [m.listener for m in exposed]
    for m in exposed:
        m.listener = cross_attention if m.encoder_decoder_attention else self_attention
    try:
        yield
    finally:
        for m, listener in zip(exposed, before):
            m.listener = listener


def _expose_through_checkpoint(layer: Any) -> None:
    """Exchange fairseq's activation checkpointing of ``layer`` for torch's non-reentrant one.

    fairseq runs the layer without a graph and can give gradients to its outputs alone; recorded
    queries and keys would be cut off. The recomputation must take the same path as the forward,
    hence a listener there too.

    Raises:
        ValueError: with ``--offload-activations``, which torch's checkpointing does not offer.
    """
    # fairseq's wrapper: functools.partial(function, forward, offload_to_cpu)
    if layer.forward.args[1]:
        raise ValueError(
            "LR-Drop architectures do not support --offload-activations (the recorded queries and "
            "keys cannot be offloaded): use --checkpoint-activations without it"
        )
    layer.forward = functools.partial(_checkpointed, layer.precheckpoint_forward)


def _checkpointed(forward: Any, *args: Any, **kwargs: Any) -> Any:
    """Run the bound method ``forward`` of a layer with torch's activation checkpointing."""
    layer = forward.__self__  # of a copied model: the copy

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        recorded = any(
            m.listener is not None for m in layer.modules() if isinstance(m, ExposedAttention)
        )
        return nullcontext(), _listen(layer, [], []) if recorded else nullcontext()

    return checkpoint(forward, *args, use_reentrant=False, context_fn=contexts, **kwargs)
