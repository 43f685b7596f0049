"""The average of the parameters of models that are added one at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lrdrop_fairseq.checkpoints.model import finite

State = dict[str, Tensor]


class AveragingError(Exception):
    """The checkpoints cannot be averaged; the message says which and why."""


class RunningAverage:
    """The sum of the floating-point entries of state dicts that are added one at a time."""

    def __init__(self) -> None:
        self.count = 0
        self._first = ""  # the name under which the first state dict was added, for messages
        self._expected: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
        self._sums: State = {}

    def add(self, name: str, state: State) -> None:
        """Add a state dict; ``name`` says in messages where it came from.

        Raises AveragingError when its names, shapes or dtypes are not those of the first one, a
        value is not finite or no tensor, or there is none.
        """
        if not state:
            raise AveragingError(f"{name} holds no parameters")
        for key, value in state.items():
            if not isinstance(value, Tensor):
                raise AveragingError(
                    f"{name}: {key} is a {type(value).__name__}: only tensors can be averaged"
                )
            if not finite(key, value):
                raise AveragingError(f"{name}: parameter {key} holds values that are not finite")
        found = {key: (value.dtype, tuple(value.shape)) for key, value in state.items()}
        if self.count == 0:
            self._first, self._expected = name, found
        elif found != self._expected:
            raise AveragingError(
                f"{name} and {self._first} are not checkpoints of one model: "
                f"{_difference(found, self._expected)}"
            )
        for key, value in state.items():
            if not value.is_floating_point():
                continue
            if key in self._sums:
                self._sums[key] += value
            else:
                self._sums[key] = value.to(torch.float64, copy=True)
        self.count += 1

    def average(self, newest: State) -> State:
        """The average in the dtypes of ``newest``, which also gives what is not floating-point.

        Parameters that share memory in ``newest`` (tied embeddings) share it in the result.
        """
        averages = {
            key: (self._sums[key] / self.count).to(value.dtype) if key in self._sums else value
            for key, value in newest.items()
        }
        owners: dict[tuple[int, torch.Size, tuple[int, ...]], str] = {}
        for key, value in newest.items():
            owner = owners.setdefault((value.data_ptr(), value.shape, value.stride()), key)
            if torch.equal(averages[owner], averages[key]):
                averages[key] = averages[owner]
        return averages


def _difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """The first parameter that one has and the other has not, or has otherwise."""
    only = sorted(found.keys() ^ expected.keys())
    if only:
        return f"only one of them has {only[0]} (and {len(only) - 1} more differ)"
    key = next(key for key in found if found[key] != expected[key])
    return f"parameter {key} is {found[key]} in the first and {expected[key]} in the second"
