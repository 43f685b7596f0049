"""The task with batches of equally long sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fairseq.tasks import TASK_REGISTRY
from fairseq.tasks.sentence_prediction import SentencePredictionTask

from lrdrop_fairseq.tasks.sentence_prediction import (
    LRDropSentencePredictionTask,
    LRDropSentencePredictionTaskConfig,
)
from tests.toy_sentences import CLASSES, HEAD, write_sentences

LENGTHS = (5, 9, 3, 5, 12, 3, 9, 5, 12, 7, 3, 5)


def make_task(folder: Path, **options: Any) -> Any:
    config = LRDropSentencePredictionTaskConfig(data=str(folder), num_classes=CLASSES, seed=1)
    config.regression_target, config.classification_head_name = False, HEAD
    for name, value in options.items():
        setattr(config, name, value)
    name = "lr_drop_sentence_prediction" if "batch_by_length" in options else "sentence_prediction"
    return TASK_REGISTRY[name].setup_task(config)


def batches(task: Any) -> list[list[int]]:
    """The rows of the training set in each batch of the first epoch, in their order."""
    task.load_dataset("train")
    iterator = task.get_batch_iterator(task.dataset("train"), max_sentences=3, max_positions=512)
    return [sample["id"].tolist() for sample in iterator.next_epoch_itr(shuffle=False)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_sentences(tmp_path / "data", LENGTHS)


def test_without_the_flag_it_is_fairseqs(folder: Path) -> None:
    theirs, ours = make_task(folder), make_task(folder, batch_by_length=False)
    assert type(theirs) is SentencePredictionTask and type(ours) is LRDropSentencePredictionTask
    assert batches(theirs) == batches(ours)


@pytest.mark.parametrize("no_shuffle", [False, True])
def test_batches_hold_sentences_of_equal_length(folder: Path, no_shuffle: bool) -> None:
    """Every sentence once; of equal ones the order is fairseq's shuffle, or that of the file."""
    found = batches(make_task(folder, batch_by_length=True, no_shuffle=no_shuffle))
    order = [row for batch in found for row in batch]
    assert [len(batch) for batch in found] == [3, 3, 3, 3]
    assert sorted(order) == list(range(len(LENGTHS)))
    lengths = [LENGTHS[row] for row in order]
    assert lengths == sorted(LENGTHS)
    with_five = [row for row in order if LENGTHS[row] == 5]
    shuffled = batches(make_task(folder, no_shuffle=no_shuffle))
    expected = [row for batch in shuffled for row in batch if LENGTHS[row] == 5]
    assert with_five == expected
    assert (with_five == sorted(with_five)) == no_shuffle


def test_padding_is_less(folder: Path) -> None:
    def padding(task: Any) -> int:
        sizes = [[LENGTHS[row] for row in batch] for batch in batches(task)]
        return sum(max(batch) * len(batch) - sum(batch) for batch in sizes)

    assert padding(make_task(folder, batch_by_length=True)) == 9
    assert padding(make_task(folder)) > 18


def test_rows_stay_where_they_are(folder: Path) -> None:
    """Predictions name rows: the order is that of batches alone."""
    task = make_task(folder, batch_by_length=True)
    dataset = task.load_dataset("train")
    rows = [len(dataset[index]["net_input.src_tokens"]) for index in range(len(LENGTHS))]
    np.testing.assert_array_equal(rows, LENGTHS)
