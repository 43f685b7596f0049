"""The repairs of lrdrop_fairseq.compat.data_files: faults are there without, gone with them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fairseq.data import data_utils, indexed_dataset
from fairseq.tasks import FairseqTask

from lrdrop_fairseq.compat.refusals import Refused
from tests.compat.common import without
from tests.toy import make_task, write_data


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """Ten sentences of a data set, without .bin and .idx; in two bytes a token."""
    write_data(tmp_path / "data", {"train": [(4, 4)] * 10})
    return str(tmp_path / "data" / "train.de-en.de")


def opened(prefix: str) -> Any:
    return data_utils.load_indexed_dataset(prefix, make_task().source_dictionary)


@pytest.mark.parametrize(
    ("suffix", "left", "message"),
    [
        ("bin", 99, "train.de-en.de.bin was cut: it has 99 bytes of 100; prepare the data again"),
        ("bin", 0, "was cut: it has 0 bytes of 100"),
        ("idx", 145, "train.de-en.de.idx was cut: it has 145 bytes of 146; prepare the data"),
        ("idx", 20, "train.de-en.de.idx: not an index that fairseq-preprocess writes"),
    ],
)
def test_data_that_were_cut_are_refused(prefix: str, suffix: str, left: int, message: str) -> None:
    assert len(opened(prefix)) == 10
    os.truncate(f"{prefix}.{suffix}", left)
    with pytest.raises(Refused, match=message):
        opened(prefix)


@pytest.mark.parametrize("suffix", ["bin", "idx"])
def test_data_of_one_file_are_refused(prefix: str, suffix: str) -> None:
    os.remove(f"{prefix}.{suffix}")
    message = f"train.de-en.de.{suffix} does not exist, while .*train.de-en.de..* does; prepare"
    with pytest.raises(Refused, match=message):
        opened(prefix)
    with pytest.raises(Refused, match=message):  # how a source is looked for
        indexed_dataset.dataset_exists(prefix, "mmap")


def test_data_of_no_file_are_not_there(prefix: str) -> None:
    for suffix in ("bin", "idx"):
        os.remove(f"{prefix}.{suffix}")
    assert opened(prefix) is None and not indexed_dataset.dataset_exists(prefix, "mmap")


def test_without_the_repair_the_last_sentence_says_so(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first nine can be read, so that a short training ends as if nothing were wrong."""
    original = without(indexed_dataset.make_dataset)
    monkeypatch.setattr(indexed_dataset, "make_dataset", original)
    os.truncate(f"{prefix}.bin", 99)
    cut = opened(prefix)
    assert [len(cut[index]) for index in range(9)] == [5] * 9
    with pytest.raises(ValueError, match="buffer is smaller"):
        cut[9]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_whole_data_of_every_type_are_read(tmp_path: Path, dtype: Any) -> None:
    builder = indexed_dataset.MMapIndexedDatasetBuilder(str(tmp_path / "x.bin"), dtype=dtype)
    for length in (3, 0, 4):
        builder.add_item(torch.arange(length))
    builder.finalize(str(tmp_path / "x.idx"))
    found = indexed_dataset.make_dataset(str(tmp_path / "x"), "mmap")
    assert [found[index].tolist() for index in range(3)] == [[0, 1, 2], [], [0, 1, 2, 3]]
    os.truncate(tmp_path / "x.bin", 7 * np.dtype(dtype).itemsize - 1)
    with pytest.raises(Refused, match="was cut"):
        indexed_dataset.make_dataset(str(tmp_path / "x"), "mmap")


def test_a_sentence_that_is_too_long_is_named(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", {"test": [(3, 3), (9, 2), (2, 3)]})
    task = make_task()
    task.cfg.data, task.cfg.source_lang, task.cfg.target_lang = str(data), "de", "en"
    task.cfg.dataset_impl, task.cfg.train_subset, task.cfg.required_seq_len_multiple = None, "x", 1
    task.load_dataset("test")
    given = (np.arange(3), task.dataset("test"), (6, 6))
    message = r"line 2 of test has \(10, 3\) tokens, more than the \(6, 6\) that the model takes"
    with pytest.raises(Refused, match=f"{message}.* --truncate-source .* --skip-invalid"):
        task.filter_indices_by_size(*given)
    task.cfg.truncate_source = True  # and still too long, or so it says
    with pytest.raises(Refused, match=message) as refused:
        task.filter_indices_by_size(*given)
    assert "--truncate-source" not in str(refused.value)
    task.cfg.truncate_source = False
    with pytest.raises(Refused, match="line 1 of test") as refused:  # its target alone
        task.filter_indices_by_size(np.arange(3), task.dataset("test"), (10, 2))
    assert "--truncate-source" not in str(refused.value)
    assert list(task.filter_indices_by_size(*given, ignore_invalid_inputs=True)) == [0, 2]
    with pytest.raises(Exception, match="skip this example with --skip-invalid"):
        without(FairseqTask.filter_indices_by_size)(task, *given)

    # What it advises.
    task.cfg.truncate_source, task.cfg.max_source_positions = True, 6
    task.load_dataset("test")
    given = (np.arange(3), task.dataset("test"), (6, 6))
    assert list(task.filter_indices_by_size(*given)) == [0, 1, 2]
