"""The repair of lrdrop_fairseq.compat.numpy_names: faults are there without, gone with it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from fairseq.data import LanguagePairDataset, TokenBlockDataset, data_utils
from fairseq.modules.dynamic_crf_layer import DynamicCRF

from lrdrop_fairseq.compat.numpy_names import MODULES
from tests.toy import make_task

SENTENCES = [torch.full((1 + i % 5,), 4) for i in range(23)]
SIZES = [len(sentence) for sentence in SENTENCES]


def buckets_of_pairs() -> None:
    """--num-batch-buckets: three widths a side, and every pair in a batch."""
    dictionary = make_task().source_dictionary
    sides = (SENTENCES, np.array(SIZES), dictionary)
    data = LanguagePairDataset(*sides, *sides, num_buckets=3, left_pad_source=False)
    batches = data.batch_by_size(data.ordered_indices(), max_tokens=20)
    assert sorted(index for batch in batches for index in batch) == list(range(23))
    widths = {data.collater([data[i] for i in batch])["target"].shape[1] for batch in batches}
    # Of 5, 5, 5, 4 and 4 sentences of 1 to 5 words the 8th, the 15th and the 23rd.
    assert widths == {2, 3, 5}


def sentences_one_by_one() -> None:
    """--sample-break-mode eos: a block is a sentence."""
    blocks = TokenBlockDataset(SENTENCES, SIZES, None, pad=1, eos=2, break_mode="eos")
    assert [len(block) for block in blocks] == SIZES


def loss_of_a_crf() -> None:
    """The targets are among the beam's candidates, which infinity sees to."""
    torch.manual_seed(0)
    emissions, targets = torch.randn(2, 5, 12), torch.randint(12, (2, 5))
    loss = DynamicCRF(12, low_rank=3, beam_size=4)(emissions, targets, torch.ones(2, 5).bool())
    assert loss.isfinite().all()


@pytest.mark.parametrize("check", [buckets_of_pairs, sentences_one_by_one, loss_of_a_crf])
def test_older_names_work_in_fairseq(
    check: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    check()
    for name in MODULES:
        monkeypatch.setattr(importlib.import_module(name), "np", np)
    with pytest.raises((AttributeError, TypeError), match="interpolation|compat|'float'"):
        check()


def test_numpy_itself_stays_as_it_is() -> None:
    older: Any = data_utils.np
    assert older is not np and older.array is np.array and older.testing is np.testing
    for name in ("compat", "int", "float"):
        assert hasattr(older, name) and not hasattr(np, name)
    with pytest.raises(TypeError, match="interpolation"):
        np.percentile([1, 2], 50, interpolation="lower")
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = older.nothing_like_it
