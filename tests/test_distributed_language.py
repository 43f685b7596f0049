"""Two processes train a language model as one does, see :mod:`tests.test_distributed`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.test_distributed import train
from tests.toy_language import ADAPTIVE, write_text_data

FLAGS = (
    "--cpu --num-workers 0 --seed 1 --task language_modeling --arch perturbed_transformer_lm "
    "--sample-break-mode eos --tokens-per-sample 64 --decoder-layers 2 --decoder-embed-dim 16 "
    "--decoder-input-dim 16 --decoder-output-dim 16 "
    "--decoder-ffn-embed-dim 24 --decoder-attention-heads 4 "
    "--dropout 0 --attention-dropout 0 --activation-dropout 0 "
    "--criterion lr_drop_cross_entropy --lr-drop-start 0 --lr-drop-hidden-weight 0.7 "
    "--lr-drop-attention-weight 3 --lr-drop-output-weight 2.5 "
    "--optimizer sgd --lr 0.5 --lr-scheduler fixed --clip-norm 0 "
    "--batch-size 2 --required-batch-size-multiple 1 --max-epoch 1 --disable-validation "
)
BANDS = "".join(
    f"--{name.replace('_', '-')} {'' if value is True else value} "
    for name, value in ADAPTIVE.items()
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 texts of 8 different lengths: no two batches have as many tokens."""
    folder = tmp_path_factory.mktemp("text") / "data"
    return write_text_data(folder, {"train": [2 + i for i in range(8)]})


@pytest.mark.parametrize(
    ("update_freq", "more"),
    [
        (1, "--ddp-backend pytorch_ddp"),
        (2, "--ddp-backend legacy_ddp --share-decoder-input-output-embed"),
        (1, "--ddp-backend pytorch_ddp --checkpoint-activations"),
        (1, f"--ddp-backend legacy_ddp {BANDS}"),
    ],
    ids=["pytorch_ddp", "legacy_ddp", "checkpointed", "adaptive"],
)
def test_two_processes_are_one(data: Path, tmp_path: Path, update_freq: int, more: str) -> None:
    """Same parameters and same logged values; all terms act."""
    frequency = f"--update-freq={2 * update_freq}"
    one = train(data, tmp_path / "one", 1, frequency, flags=FLAGS + more)
    two = train(data, tmp_path / "two", 2, f"--update-freq={update_freq}", flags=FLAGS + more)
    assert all(value > 1e-4 for value in one[1].values()), one[1]
    torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-6)


def test_a_process_without_texts_and_a_late_start(tmp_path: Path) -> None:
    """3 batches, 2 processes: one has a dummy batch in the second update, which has the terms."""
    data = write_text_data(tmp_path / "data", {"train": [2 + i for i in range(6)]})
    one = train(data, tmp_path / "one", 1, "--update-freq=2", "--lr-drop-start=1", flags=FLAGS)
    two = train(data, tmp_path / "two", 2, "--lr-drop-start=1", flags=FLAGS)
    assert all(value > 1e-4 for value in one[1].values()), one[1]
    torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-6)
