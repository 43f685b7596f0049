"""Makes any architecture derived from fairseq's Transformer expose its layer states."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from fairseq.models.transformer import TransformerDecoderBase, TransformerEncoderBase
from fairseq.modules import FairseqDropout, MultiheadAttention
from torch import Tensor, nn

from lrdrop_fairseq.activation_checkpointing import expose_through_checkpoint
from lrdrop_fairseq.attention import ExposedAttention, exposed_attentions, listening
from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.dropout import LeanDropout, check_probabilities, lean_dropout
from lrdrop_fairseq.layer_states import Attention, LayerStates


class ExposesLayerStates:
    """Mixin that goes in front of a fairseq model class; that line is all an architecture needs.

    ::

        @register_model("my_lr_drop_transformer")
        class MyLRDropTransformer(ExposesLayerStates, MyTransformer):
            pass

    Parameters, their names, evaluation, generation and TorchScript stay those of the model class.
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
        raise Refused(
            f"the forward of {type(self).__name__} returns something else than (logits, dictionary "
            "or None), to which LR-Drop could add the states of its layers: let it return that, or "
            "set --lr-drop-hidden-weight 0 --lr-drop-attention-weight 0"
        )

    def __prepare_scriptable__(self) -> Any:
        """What ``torch.jit.script`` compiles in place of this model: fairseq's, not exposed.

        TorchScript has no ``**kwargs``, and no gradient of our own. As torch does it, the copy
        stays in what it was scripted with (fairseq's ``SequenceGenerator``); the model itself
        goes on as it is.
        """
        return unexposed(self)


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
            expose_through_checkpoint(module)
    return model


def unexposed(model: Any) -> Any:
    """A copy of an exposing model that is fairseq's again; it has the model's own parameters."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    copied = copy.deepcopy(model, shared)
    stock = {ExposedAttention: MultiheadAttention, LeanDropout: FairseqDropout}
    for module in copied.modules():
        module.__class__ = stock.get(type(module), type(module))
    cls = type(model)
    forward = method_class(cls, "forward").forward
    copied.__class__ = type(
        cls.__name__, (cls,), {"forward": forward, "__module__": cls.__module__}
    )
    return copied


def method_class(cls: type, method: str) -> Any:
    """The class that a method comes from; ``ExposesLayerStates`` only passes its calls on."""
    return next(c for c in cls.__mro__ if c is not ExposesLayerStates and method in vars(c))


@contextmanager
def record_layer_states(
    model: Any,
    expose_hidden: Callable[[Tensor], Any] | None,
    expose_attention: Callable[[Attention], Any] | None,
) -> Iterator[LayerStates]:
    """Record what the layers of ``model`` do inside the block; cost-free outside of it."""
    states = LayerStates()
    with ExitStack() as stack:
        stack.enter_context(lean_dropout(model))
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
                for attention in exposed_attentions(module):
                    across = attention.encoder_decoder_attention
                    results = cross_attention if across else self_attention
                    stack.enter_context(listening(attention, expose_attention, results))
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
