"""GPT-2's byte-level BPE over many documents, in several processes, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from documents import Document

# Documents that a process gets at once: enough to hide the cost of sending them.
BATCH = 64

Encoded = tuple[Document, list[int], list[int]]

_encoder: Any = None  # of a worker process


def _start(encoder_json: Path, vocab_bpe: Path) -> None:
    global _encoder
    from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

    _encoder = get_encoder(str(encoder_json), str(vocab_bpe))


def _encode(batch: list[Document]) -> list[Encoded]:
    return [
        (document, _encoder.encode(document.source), _encoder.encode(document.summary))
        for document in batch
    ]


class Encoder:
    """Worker processes that encode; a context manager.

    Args:
        folder: holds GPT-2's encoder.json and vocab.bpe.
        workers: how many processes.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        files = (folder / "encoder.json", folder / "vocab.bpe")
        self.workers = workers
        self.pool = ProcessPoolExecutor(workers, initializer=_start, initargs=files)

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(cancel_futures=True)

    def __call__(self, documents: Iterable[Document]) -> Iterator[Encoded]:
        """Each document with the BPE tokens of its text and of its summary, in order.

        No more batches are under way than keep the processes busy, so memory does not grow.
        """
        remaining = iter(documents)
        under_way: deque[Future[list[Encoded]]] = deque()
        while True:
            while len(under_way) < 4 * self.workers:
                batch = list(islice(remaining, BATCH))
                if not batch:
                    break
                under_way.append(self.pool.submit(_encode, batch))
            if not under_way:
                return
            yield from under_way.popleft().result()
