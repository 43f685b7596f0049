"""What fairseq's trainer and ``torch.compile`` put around a model."""

from __future__ import annotations

from typing import Any

from torch import nn

# Names of the wrapped module: data-parallel wrappers and fairseq's proxy of them; torch.compile.
_WRAPPED = ("module", "_orig_mod")


def unwrap(module: Any) -> list[Any]:
    """``module``, what it wraps, and so on: the model (or layer stack) itself comes last."""
    chain = [module]
    while isinstance(chain[-1], nn.Module):
        # Not getattr: a wrapper's looks its attributes up in what it wraps, and would skip one.
        children = dict(chain[-1].named_children())
        wrapped = [children[name] for name in _WRAPPED if name in children]
        if not wrapped:
            break
        chain.append(wrapped[0])
    return chain
