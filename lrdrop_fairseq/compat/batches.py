"""Repairs of which sentences stand in which batch."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np
from fairseq.data import data_utils
from fairseq.tasks import FairseqTask

from lrdrop_fairseq.compat.replace import REPAIRED, replace


def keep_last_batch() -> None:
    """Keep the last batch of a data set when its size is no multiple of 8.

    fairseq 0.12.3 throws the last batch away unless it holds a multiple of
    ``--required-batch-size-multiple`` (8) sentences.  Those sentences are missing from
    training, from the validation loss and from the output of ``fairseq-generate``, without a
    word, and a set of fewer than 8 sentences is an ``IndexError``.  fairseq 0.12.2 keeps it,
    and so does this repair: it adds the missing sentences as the last batch.

    Ends with: a fairseq whose ``data_utils.batch_by_size`` returns every index (0.12.2 does).
    """
    original = data_utils.batch_by_size
    if hasattr(original, REPAIRED):
        return
    signature = inspect.signature(original)

    @functools.wraps(original)
    def batch_by_size(indices: Any, *args: Any, **kwargs: Any) -> Any:
        # A generator can be read once only, and the indices are needed twice.
        indices = indices if isinstance(indices, np.ndarray) else np.array(list(indices), np.int64)
        if len(indices) == 0:
            return []
        batches = original(indices, *args, **kwargs)
        # Batches are consecutive slices of the indices, except those of given shapes.
        given = signature.bind(indices, *args, **kwargs).arguments
        if given.get("fixed_shapes") is None:
            kept = sum(len(batch) for batch in batches)
            if kept < len(indices):
                batches = [*batches, indices[kept:]]
        return batches

    replace(data_utils, batch_by_size)


def keep_batches_across_resume() -> None:
    """Let a run that resumes go on with the batches of the run that was interrupted.

    fairseq groups the sentences into batches once, when it starts, and seeds the shuffle that
    goes before with the epoch it starts in.  So a run that resumes in epoch 3 has other batches
    than the run that it continues: of the epoch that was interrupted some sentences come twice
    and others never, and the result is no longer that of an uninterrupted run.  Here the batches
    are always those of epoch 1, as in a run that was never interrupted.  Tasks that rebuild
    their batches in every epoch are left alone. (With ``--update-ordered-indices-seed``, which has
    the epoch in its seed, a run that resumes still has batches of its own.)

    Ends with: a fairseq that makes reusable batches with a seed free of the epoch (none so far).
    """
    original = FairseqTask.get_batch_iterator
    if hasattr(original, REPAIRED):
        return
    signature = inspect.signature(original)

    @functools.wraps(original)
    def get_batch_iterator(self: Any, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        call = signature.bind(self, dataset, *args, **kwargs)
        call.apply_defaults()
        renewed = call.arguments.get("disable_iterator_cache") or call.arguments.get(
            "update_epoch_batch_itr"
        )
        rebuilt = renewed or getattr(self.cfg, "rebuild_batches", False)
        cached = dataset in self.dataset_to_epoch_iter
        if cached or rebuilt or not self.can_reuse_epoch_itr(dataset):
            return original(self, dataset, *args, **kwargs)
        epoch, call.arguments["epoch"] = call.arguments["epoch"], 1
        iterator = original(*call.args, **call.kwargs)
        dataset.set_epoch(epoch)
        iterator.epoch = max(epoch, 1)
        return iterator

    replace(FairseqTask, get_batch_iterator)
