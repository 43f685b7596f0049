"""Repairs of code of fairseq that asks NumPy for names which NumPy has given up."""

from __future__ import annotations

import importlib
import inspect
import types
from typing import Any

import numpy as np

# Where fairseq uses them: --num-batch-buckets; language models with --sample-break-mode eos;
# non-autoregressive models with a CRF.
MODULES = (
    "fairseq.data.data_utils",
    "fairseq.data.language_pair_dataset",
    "fairseq.data.token_block_dataset",
    "fairseq.modules.dynamic_crf_layer",
)

# Before NumPy 1.22 the argument had its older name only.
METHOD = "method" if "method" in inspect.signature(np.percentile).parameters else "interpolation"


class _OlderNumpy(types.ModuleType):
    """NumPy with the names that it once had; looked up in here, and else in NumPy itself."""

    def __init__(self) -> None:
        super().__init__("numpy")
        self.__dict__.update(vars(np))  # so that no look-up is slower than in NumPy
        self.compat = types.SimpleNamespace(long=np.int64)
        self.int, self.float = int, float
        self.percentile = percentile

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)  # what NumPy imports only when it is asked for


def percentile(*args: Any, interpolation: str | None = None, **kwargs: Any) -> Any:
    """``numpy.percentile`` whose ``method`` may be called ``interpolation``."""
    if interpolation is not None:
        kwargs[METHOD] = interpolation
    return np.percentile(*args, **kwargs)


def keep_older_numpy_names() -> None:
    """Give some modules of fairseq ``np.compat``, ``np.int`` and ``np.float`` again.

    NumPy 1.24 took ``np.int`` and ``np.float`` away, NumPy 2 ``np.compat`` and the argument
    ``interpolation`` of ``np.percentile``.  Without them ``--num-batch-buckets`` ends in a
    TypeError, ``--sample-break-mode eos`` of a language model in an AttributeError.  Only those
    modules see the names, NumPy itself stays as it is.

    Ends with: a fairseq without those names (none so far).
    """
    older = _OlderNumpy()
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:  # another fairseq
            continue
        if getattr(module, "np", None) is np:
            module.np = older  # type: ignore[attr-defined]
