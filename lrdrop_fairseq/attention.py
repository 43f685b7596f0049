"""fairseq's multi-head attention, able to expose what its attention maps are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn

from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.layer_states import Attention, AttentionInputs, AttentionMap
from lrdrop_fairseq.losses.attention import attention_probabilities

# The largest map of a sentence and head, queries times keys, that is ever formed: 362 x 362.
LARGEST_MAP = 1 << 17


@dataclass
class Listener:
    """Keeps what ``function`` makes of each attention it hears, in ``results``."""

    function: Callable[[Attention], Any]
    results: list[Any]

    def hear(self, attention: Attention) -> None:
        self.results.append(self.function(attention))


class ExposedAttention(MultiheadAttention):
    """``MultiheadAttention`` that tells its attention to a listener.

    While ``listener`` is None it *is* fairseq's module: same parameters, same code path. While
    there is one, the probabilities of a small map are computed once, for the output and for the
    listener. A large one would take more memory than all else, so the output comes from
    ``scaled_dot_product_attention``, and the listener gets queries and keys. fairseq's own path
    would return maps averaged over heads and after dropout.
    """

    listener: Listener | None = None

    @classmethod
    def adopt(cls, attention: MultiheadAttention) -> None:
        """Turn an existing module into an ``ExposedAttention``, in place, parameters untouched.

        Raises:
            ValueError: the module computes its attention in a way that cannot be exposed.
        """
        refused = {
            "a subclass with an attention of its own": type(attention) is not MultiheadAttention,
            "xformers attention": attention.use_xformers,
            "bias_k/bias_v": attention.bias_k is not None,
            "add_zero_attn": attention.add_zero_attn,
        }
        for reason, found in refused.items():
            if found:
                raise Refused(
                    f"LR-Drop cannot expose the queries and keys of {type(attention).__name__}: "
                    f"{reason} is not supported. Leave that out, or take the architecture without "
                    "lr_drop_ and --lr-drop-hidden-weight 0 --lr-drop-attention-weight 0"
                )
        attention.__class__ = cls

    def forward(
        self,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        key_padding_mask: Tensor | None = None,
        incremental_state: Any = None,
        need_weights: bool = True,
        static_kv: bool = False,
        attn_mask: Tensor | None = None,
        before_softmax: bool = False,
        need_head_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """See fairseq. With a listener, no attention weights are returned."""
        if self.listener is None:
            return super().forward(  # type: ignore[no-any-return]
                query,
                key,
                value,
                key_padding_mask,
                incremental_state,
                need_weights,
                static_kv,
                attn_mask,
                before_softmax,
                need_head_weights,
            )
        assert key is not None and value is not None and incremental_state is None
        # As fairseq does it, which takes self-attention's weights past its modules: their hooks (of
        # quantization noise) must not begin to act when the terms do.
        project = _call if static_kv or self.skip_embed_dim_check else _multiply
        # T x B x C -> B x H x T x D
        q = self._split_heads(project(self.q_proj, query))
        k = self._split_heads(project(self.k_proj, key))
        v = self._split_heads(project(self.v_proj, value))
        mask = merge_masks(attn_mask, key_padding_mask, q.dtype)
        dropout = self.dropout_module.p if self.training else 0.0
        # With dropout, torch's attention on a CPU forms the map as well: nothing to be saved then.
        forms_map = q.device.type == "cpu" and dropout > 0
        if forms_map or q.size(2) * k.size(2) <= LARGEST_MAP:
            probabilities = attention_probabilities(q, k, self.scaling, mask)
            self.listener.hear(AttentionMap(probabilities, mask))
            attended = self.dropout_module(probabilities).to(v.dtype) @ v
        else:
            self.listener.hear(AttentionInputs(q, k, self.scaling, mask))
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        # B x H x T x D -> T x B x C
        attended = attended.permute(2, 0, 1, 3).flatten(start_dim=2)
        return project(self.out_proj, attended), None

    def _split_heads(self, projected: Tensor) -> Tensor:
        # T x B x C -> T x B x H x D -> B x H x T x D
        length, batch, _ = projected.shape
        heads = projected.view(length, batch, self.num_heads, self.head_dim)
        return heads.permute(1, 2, 0, 3)


def _call(module: nn.Module, x: Tensor) -> Tensor:
    result: Tensor = module(x)
    return result


def _multiply(linear: Any, x: Tensor) -> Tensor:
    return F.linear(x, linear.weight, linear.bias)


@contextmanager
def listening(
    attention: ExposedAttention, function: Callable[[Attention], Any], results: list[Any]
) -> Iterator[None]:
    """Append ``function`` of each attention of the module inside the block to ``results``."""
    before = attention.listener
    attention.listener = Listener(function, results)
    try:
        yield
    finally:
        attention.listener = before


def exposed_attentions(module: nn.Module) -> list[ExposedAttention]:
    """All of a module, in their order."""
    return [m for m in module.modules() if isinstance(m, ExposedAttention)]


def merge_masks(
    attn_mask: Tensor | None, key_padding_mask: Tensor | None, dtype: torch.dtype
) -> Tensor | None:
    """One additive mask, in the dtype of the queries as the fast kernels want it.

    Args:
        attn_mask: T x S, additive, or True at keys that may not be seen, or None.
        key_padding_mask: B x S, nonzero at padding, or None.

    Returns:
        T x S or B x 1 x (T or 1) x S; None if both masks are None.

    Raises:
        ValueError: ``attn_mask`` is another one for each sentence and head.
    """
    mask = None
    if attn_mask is not None:
        if attn_mask.dim() != 2:
            raise Refused(
                f"LR-Drop cannot expose an attention whose mask has the shape "
                f"{tuple(attn_mask.shape)}: it must be one of queries x keys for all sentences. "
                "Set --lr-drop-attention-weight 0"
            )
        mask = attn_mask.to(dtype)
        if attn_mask.dtype == torch.bool:
            mask = torch.zeros_like(mask).masked_fill(attn_mask, float("-inf"))
    if key_padding_mask is not None:
        # B x S -> B x 1 x 1 x S
        padding = key_padding_mask.bool()[:, None, None, :]
        mask = torch.zeros_like(padding, dtype=dtype) if mask is None else mask
        mask = mask.masked_fill(padding, float("-inf"))
    return mask
