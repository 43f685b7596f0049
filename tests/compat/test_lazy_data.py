"""The repair of lrdrop_fairseq.compat.lazy_data: the fault is there without, gone with it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from fairseq.data import data_utils, indexed_dataset

from tests.compat.common import without


@pytest.mark.parametrize("written", ["lazy", "cached"])
def test_what_was_not_prefetched_is_read(written: str, tmp_path: Path) -> None:
    sentences = [torch.arange(4, 5 + i) for i in range(6)]
    prefix = str(tmp_path / "train")
    builder = indexed_dataset.make_builder(f"{prefix}.bin", written)
    for sentence in sentences:
        builder.add_item(sentence)
    builder.finalize(f"{prefix}.idx")

    data = data_utils.load_indexed_dataset(prefix)
    assert isinstance(data, indexed_dataset.IndexedCachedDataset)
    with pytest.raises(KeyError):
        without(type(data).__getitem__)(data, 2)
    assert data[2].equal(sentences[2])
    data.prefetch([1, 3])
    for i in (3, 0, 1, 5):  # from the cache, and from the file
        assert data[i].equal(sentences[i])
    with pytest.raises(IndexError):
        data[6]
    assert pickle.loads(pickle.dumps(data))[4].equal(sentences[4])  # as workers get it
