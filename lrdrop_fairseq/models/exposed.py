"""Makes any architecture derived from fairseq's Transformer expose its layer states."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from fairseq.models.transformer import TransformerDecoderBase, TransformerEncoderBase
from fairseq.modules import FairseqDropout, MultiheadAttention
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lrdrop_fairseq.attention import ExposedAttention, Listener
from lrdrop_fairseq.dropout import LeanDropout, check_probabilities
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
        """Build the model, then turn its attention and dropout modules into exposable ones."""
        return expose(super().build_model(*args, **kwargs))  # type: ignore[misc]

    def forward(
        self,
        *args: Any,
        expose_hidden: Callable[[Tensor], Any] | None = None,
        expose_attention: Callable[[Attention], Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """The model's forward; its ``extra`` dictionary also gets ``"layer_states"`` if asked.

        Args:
            expose_hidden: what to keep of the output of every layer, a function of it.
            expose_attention: what to keep of every attention module, a function of its
                ``AttentionMap`` or ``AttentionInputs``.
        """
        if not (expose_hidden or expose_attention):
            return super().forward(*args, **kwargs)  # type: ignore[misc]
        with record_layer_states(self, expose_hidden, expose_attention) as states:
            output = super().forward(*args, **kwargs)  # type: ignore[misc]
        if isinstance(output, tuple) and len(output) == 2:
            x, extra = output
            if extra is None or isinstance(extra, dict):
                return x, {**(extra or {}), "layer_states": states}
        raise ValueError(
            f"the forward of {type(self).__name__} returns something else than (logits, dictionary "
            "or None), to which LR-Drop could add the states of its layers: let it return that, or "
            "set --lr-drop-hidden-weight 0 --lr-drop-attention-weight 0"
        )


def expose(model: Any) -> Any:
    """Turn a model's attention and dropout modules into exposable ones, in place; the model.

    Raises:
        ValueError: an attention cannot be exposed, or a dropout is no probability.
    """
    check_probabilities(model)
    for module in list(model.modules()):
        if isinstance(module, MultiheadAttention) and not isinstance(module, ExposedAttention):
            ExposedAttention.adopt(module)
        if type(module) is FairseqDropout:
            LeanDropout.adopt(module)
        if "precheckpoint_forward" in vars(module):
            _expose_through_checkpoint(module)
    return model


@contextmanager
def record_layer_states(
    model: Any,
    expose_hidden: Callable[[Tensor], Any] | None,
    expose_attention: Callable[[Attention], Any] | None,
) -> Iterator[LayerStates]:
    """Record what the layers of ``model`` do inside the block; cost-free outside of it."""
    states = LayerStates()
    with ExitStack() as stack:
        stack.enter_context(_lean_dropout(model))
        for module in model.modules():
            if isinstance(module, TransformerEncoderBase):
                hidden = states.encoder_hidden
                self_attention = cross_attention = states.encoder_self_attention
            elif isinstance(module, TransformerDecoderBase):
                hidden = states.decoder_hidden
                self_attention = states.decoder_self_attention
                cross_attention = states.cross_attention
            else:
                continue
            if expose_hidden:
                stack.enter_context(_record_outputs(module, expose_hidden, hidden))
            if expose_attention:
                for attention in _exposed_attentions(module):
                    across = attention.encoder_decoder_attention
                    results = cross_attention if across else self_attention
                    listener = Listener(expose_attention, results)
                    stack.enter_context(_set(attention, "listener", listener))
        yield states


@contextmanager
def _record_outputs(
    transformer: Any, function: Callable[[Tensor], Any], results: list[Any]
) -> Iterator[None]:
    """Append ``function`` of the output of each layer that runs to ``results``."""

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        results.append(function(output[0] if isinstance(output, tuple) else output))

    # children() and not iter(layers): iterating a LayerDropModuleList draws which layers to drop.
    handles = [layer.register_forward_hook(hook) for layer in transformer.layers.children()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _lean_dropout(module: nn.Module) -> Iterator[None]:
    with ExitStack() as stack:
        for dropout in module.modules():
            if isinstance(dropout, LeanDropout):
                stack.enter_context(_set(dropout, "lean", True))
        yield


@contextmanager
def _set(module: Any, name: str, value: Any) -> Iterator[None]:
    """Let an attribute have another value inside the block."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def _exposed_attentions(module: nn.Module) -> list[ExposedAttention]:
    return [m for m in module.modules() if isinstance(m, ExposedAttention)]


def _expose_through_checkpoint(layer: Any) -> None:
    """Exchange fairseq's activation checkpointing of ``layer`` for torch's non-reentrant one.

    fairseq runs the layer without a graph and can give gradients to its outputs alone; what the
    listeners made of its attention would be cut off.

    Raises:
        ValueError: with ``--offload-activations``, which torch's checkpointing does not offer.
    """
    # fairseq's wrapper: functools.partial(function, forward, offload_to_cpu)
    if layer.forward.args[1]:
        raise ValueError(
            "LR-Drop architectures do not support --offload-activations (what they expose cannot "
            "be offloaded): use --checkpoint-activations without it"
        )
    # torch.compile cannot trace a checkpoint with contexts of its own: such a layer stays eager.
    disable: Any = torch.compiler.disable
    layer.forward = functools.partial(disable(_checkpointed), layer.precheckpoint_forward)


def _checkpointed(forward: Any, *args: Any, **kwargs: Any) -> Any:
    """Run the bound method ``forward`` of a layer with torch's activation checkpointing."""
    layer = forward.__self__  # of a copied model: the copy

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _as_now(layer)

    return checkpoint(forward, *args, use_reentrant=False, context_fn=contexts, **kwargs)


def _as_now(layer: nn.Module) -> AbstractContextManager[None]:
    """A block in which ``layer`` computes what it computes now, with nobody to keep the results.

    The recomputation must take the same path as the forward, and comes when that is over.
    """
    listeners = [(m, m.listener) for m in _exposed_attentions(layer) if m.listener]
    lean = any(m.lean for m in layer.modules() if isinstance(m, LeanDropout))

    @contextmanager
    def block() -> Iterator[None]:
        with ExitStack() as stack:
            for attention, listener in listeners:
                again = Listener(listener.function, [])
                stack.enter_context(_set(attention, "listener", again))
            if lean:
                stack.enter_context(_lean_dropout(layer))
            yield

    return block()
