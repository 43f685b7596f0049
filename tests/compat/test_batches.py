"""The repairs of lrdrop_fairseq.compat.batches: faults are there without, gone with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from fairseq.data import LanguagePairDataset, data_utils
from fairseq.tasks import FairseqTask

from tests.compat.common import without
from tests.toy import make_task


@pytest.mark.parametrize("count", [1, 5, 8, 13, 16])
@pytest.mark.parametrize("as_vector", [True, False], ids=["lengths", "length function"])
def test_every_sentence_is_in_a_batch(count: int, as_vector: bool) -> None:
    lengths = np.full(count, 3)
    limits: dict[str, Any] = {"max_tokens": 30, "required_batch_size_multiple": 8}
    if as_vector:
        limits["num_tokens_vec"] = lengths
    order = np.arange(count)[::-1].copy()
    batches = data_utils.batch_by_size(order, lengths.__getitem__, **limits)
    assert [index for batch in batches for index in batch] == list(order)
    assert all(len(batch) * 3 <= 30 for batch in batches)
    assert all(len(batch) % 8 == 0 for batch in batches[:-1])

    kept = sum(map(len, without(data_utils.batch_by_size)(order, lengths.__getitem__, **limits)))
    assert kept == count // 8 * 8


def test_indices_may_be_a_generator() -> None:
    batches = data_utils.batch_by_size(
        (i for i in range(9)), lambda _: 1, max_sentences=8, required_batch_size_multiple=8
    )
    assert [list(batch) for batch in batches] == [list(range(8)), [8]]


def batches_of_epoch_three(get_batch_iterator: Any) -> tuple[list[list[int]], list[list[int]]]:
    """Batches of epoch 3: of a run from the beginning, and of one that resumes in epoch 3."""
    sentences = [torch.full((1 + i % 5,), 4) for i in range(40)]
    sizes = [len(sentence) for sentence in sentences]
    dictionary = make_task().source_dictionary
    results = []
    for first_epoch in (1, 3):
        dataset = LanguagePairDataset(sentences, sizes, dictionary, sentences, sizes, dictionary)
        iterator = get_batch_iterator(
            make_task(), dataset, max_tokens=20, required_batch_size_multiple=1, epoch=first_epoch
        )
        assert iterator.next_epoch_idx == first_epoch
        while iterator.next_epoch_idx < 3:
            list(iterator.next_epoch_itr())
        results.append([batch["id"].tolist() for batch in iterator.next_epoch_itr()])
    return results[0], results[1]


def test_a_resumed_run_has_the_batches_of_the_one_it_continues() -> None:
    uninterrupted, resumed = batches_of_epoch_three(FairseqTask.get_batch_iterator)
    assert resumed == uninterrupted
    uninterrupted, resumed = batches_of_epoch_three(without(FairseqTask.get_batch_iterator))
    assert resumed != uninterrupted
