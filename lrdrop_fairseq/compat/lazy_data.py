"""Repairs of how binarized data is read."""

from __future__ import annotations

import functools
from typing import Any

from fairseq.data import indexed_dataset

from lrdrop_fairseq.compat.replace import REPAIRED, replace


def read_what_was_not_prefetched() -> None:
    """Let a run read data that ``fairseq-preprocess --dataset-impl lazy`` (or ``cached``) wrote.

    Unless told otherwise fairseq reads such files as ``cached``, and takes the first batch
    before it fills the cache: a KeyError.  Here a sentence outside the cache comes from the file.

    Ends with: a fairseq whose ``IndexedCachedDataset`` does so (none so far).
    """
    cached = indexed_dataset.IndexedCachedDataset
    original = cached.__getitem__
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original, updated=())
    def __getitem__(self: Any, i: int) -> Any:
        if i in self.cache_index:
            return original(self, i)
        try:
            return indexed_dataset.IndexedDataset.__getitem__(self, i)
        finally:
            if self.data_file:  # closed, as it is after prefetching, so that workers get a copy
                self.data_file.close()
                self.data_file = None

    replace(cached, __getitem__)
