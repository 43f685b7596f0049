"""``lr_drop_sentence_prediction``: fairseq's task, with batches of equally long sentences."""

# No "from __future__ import annotations": fairseq reads the types of the config's fields.
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fairseq.data import SortDataset
from fairseq.tasks import register_task
from fairseq.tasks.sentence_prediction import SentencePredictionConfig, SentencePredictionTask


@dataclass
class LRDropSentencePredictionTaskConfig(SentencePredictionConfig):
    """The options of fairseq's ``sentence_prediction``, and how its batches are made."""

    batch_by_length: bool = field(
        default=False,
        metadata={
            "help": "batches of sentences of about the same length, as in translation: less padding"
        },
    )


@register_task("lr_drop_sentence_prediction", dataclass=LRDropSentencePredictionTaskConfig)
class LRDropSentencePredictionTask(SentencePredictionTask):
    """``sentence_prediction``; the same to the last bit without ``--batch-by-length``.

    A random batch of sentences is about half padding, which costs as much as text.
    """

    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> Any:
        """Load a subset; its order is that of lengths, and random among equal ones."""
        dataset = super().load_dataset(split, combine, **kwargs)
        if self.cfg.batch_by_length:
            if not isinstance(dataset, SortDataset):  # --no-shuffle
                dataset = SortDataset(dataset, sort_order=[np.arange(len(dataset))])
            # numpy.lexsort: the last key counts first
            dataset.sort_order = [*dataset.sort_order, dataset.sizes[0]]
            self.datasets[split] = dataset
        return dataset
