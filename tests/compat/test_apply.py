"""lrdrop_fairseq.compat.apply, called more than once."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
import torch.multiprocessing
from fairseq import checkpoint_utils, options, utils
from fairseq.data import data_utils
from fairseq.distributed import utils as distributed_utils
from fairseq.file_io import PathManager
from fairseq.models import distributed_fairseq_model
from fairseq.optim import fp16_optimizer
from fairseq.optim.lr_scheduler.reduce_lr_on_plateau import ReduceLROnPlateauLRSchedule
from fairseq.search import DiverseBeamSearch
from fairseq.tasks import FairseqTask
from fairseq.trainer import Trainer

from lrdrop_fairseq import compat


def layers(function: Any) -> list[Any]:
    """The code of a function, of the one that it replaces, and so on down to fairseq's."""
    inner = getattr(function, "__wrapped__", None)
    code = getattr(function, "__code__", function)  # a class has none
    return [code, *(layers(inner) if inner else [])]


def test_a_second_apply_changes_nothing() -> None:
    def state() -> list[Any]:
        return [
            options.parse_args_and_arch,
            data_utils.batch_by_size,
            FairseqTask.get_batch_iterator,
            PathManager.copy,
            checkpoint_utils.load_model_ensemble_and_task,
            Trainer.load_checkpoint,
            distributed_utils.call_main,
            distributed_utils.infer_init_method,
            distributed_fairseq_model.DistributedDataParallel,
            Trainer.state_dict,
            fp16_optimizer._FP16OptimizerMixin.state_dict,
            DiverseBeamSearch.step,
            utils.replace_unk,
            Trainer.save_checkpoint,
            checkpoint_utils.load_checkpoint,
            checkpoint_utils._torch_persistent_save,
            ReduceLROnPlateauLRSchedule.state_dict,
            set(torch.serialization.get_safe_globals()),
        ]

    before, torch_of_checkpoints = state(), vars(checkpoint_utils)["torch"]
    numpy_of_data = vars(data_utils)["np"]
    compat.apply()
    assert vars(checkpoint_utils)["torch"] is torch_of_checkpoints
    assert vars(data_utils)["np"] is numpy_of_data
    assert state() == before
    for function in before[:-1]:  # each repair of a function once
        assert len(set(layers(function))) == len(layers(function)) > 1
