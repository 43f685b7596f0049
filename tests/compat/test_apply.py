"""lrdrop_fairseq.compat.apply, called more than once."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
import torch.multiprocessing
from fairseq import options
from fairseq.data import data_utils
from fairseq.distributed import utils as distributed_utils
from fairseq.file_io import PathManager
from fairseq.models import distributed_fairseq_model
from fairseq.tasks import FairseqTask

from lrdrop_fairseq import compat
from tests.compat.common import without


def test_a_second_apply_changes_nothing() -> None:
    def state() -> list[Any]:
        return [
            options.parse_args_and_arch,
            data_utils.batch_by_size,
            FairseqTask.get_batch_iterator,
            PathManager.copy,
            distributed_utils.infer_init_method,
            distributed_fairseq_model.DistributedDataParallel,
            set(torch.serialization.get_safe_globals()),
        ]

    before = state()
    compat.apply()
    assert state() == before
    assert not any(hasattr(without(function), "__wrapped__") for function in before[:-1])
