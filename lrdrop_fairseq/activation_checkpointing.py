"""Activation checkpointing of layers whose attention is exposed."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from lrdrop_fairseq.attention import exposed_attentions, listening
from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.dropout import LeanDropout, lean_dropout


def expose_through_checkpoint(layer: Any) -> None:
    """Exchange fairseq's activation checkpointing of ``layer`` for torch's non-reentrant one.

    fairseq runs the layer without a graph and can give gradients to its outputs alone; what the
    listeners made of its attention would be cut off.

    Raises:
        ValueError: with ``--offload-activations``, which torch's checkpointing does not offer.
    """
    # fairseq's wrapper: functools.partial(function, forward, offload_to_cpu)
    if layer.forward.args[1]:
        raise Refused(
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
    listeners = [(m, m.listener) for m in exposed_attentions(layer) if m.listener]
    lean = any(m.lean for m in layer.modules() if isinstance(m, LeanDropout))

    @contextmanager
    def block() -> Iterator[None]:
        with ExitStack() as stack:
            for attention, listener in listeners:
                stack.enter_context(listening(attention, listener.function, []))
            if lean:
                stack.enter_context(lean_dropout(layer))
            yield

    return block()
