"""Two processes train as one process does that sees the same sentences in one update.

Everything is real but the passes: without dropout they would be the same and the three terms 0.
So a model of our own scales the input of its layers in the second pass, in a fixed way.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from fairseq.checkpoint_utils import load_checkpoint_to_cpu
from fairseq.models import register_model, register_model_architecture
from fairseq_cli.train import cli_main

from lrdrop_fairseq.models.transformer import LRDropTransformer
from lrdrop_fairseq.siamese import halves
from tests.toy import TERMS, write_data

FLAGS = (
    "--task translation --source-lang de --target-lang en --cpu --num-workers 0 --seed 1 "
    "--arch perturbed --encoder-layers 2 --decoder-layers 2 "
    "--encoder-embed-dim 16 --decoder-embed-dim 16 --encoder-ffn-embed-dim 24 "
    "--decoder-ffn-embed-dim 24 --encoder-attention-heads 2 --decoder-attention-heads 4 "
    "--dropout 0 --attention-dropout 0 --activation-dropout 0 "
    "--criterion lr_drop_label_smoothed_cross_entropy --label-smoothing 0.1 "
    "--lr-drop-hidden-weight 0.7 --lr-drop-attention-weight 3 --lr-drop-output-weight 2.5 "
    "--optimizer sgd --lr 1 --lr-scheduler fixed --clip-norm 0 "
    "--batch-size 2 --required-batch-size-multiple 1 --max-epoch 1 --disable-validation"
).split()


def register_perturbed() -> None:
    """Register ``--arch perturbed``; in the processes that train only, others list all names."""

    @register_model("perturbed")
    class PerturbedTransformer(LRDropTransformer):
        @classmethod
        def build_model(cls, *args: Any, **kwargs: Any) -> Any:
            model = super().build_model(*args, **kwargs)
            for layer in (*model.encoder.layers, *model.decoder.layers):
                layer.register_forward_pre_hook(perturb)
            return model

    register_model_architecture("perturbed", "perturbed")(lambda args: None)


def perturb(layer: Any, inputs: tuple[Any, ...]) -> Any:
    """Scale every feature of the second pass by a factor of its own. T x 2B x C."""
    x, *others = inputs
    first, second = halves(x, dim=1)
    # In steps of 1/64: the same factors in half precision.
    factor = 1 + torch.sin(torch.arange(1.0, x.size(-1) + 1)).mul(0.3 * 64).round() / 64
    return torch.cat([first, second * factor.to(x)], dim=1), *others


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 sentence pairs of 8 different lengths: no two batches have as many tokens."""
    lengths = [(11 - i, 2 + i) for i in range(8)]
    return write_data(tmp_path_factory.mktemp("data"), {"train": lengths})


def _train(rank: int, n_processes: int, folder: str, flags: list[str]) -> None:
    torch.set_num_threads(1)
    register_perturbed()
    sys.argv = ["fairseq-train", *flags, f"--save-dir={folder}"]
    if n_processes > 1:
        sys.argv += [
            f"--distributed-init-method=file://{folder}/meeting_point", "--distributed-no-spawn",
            f"--distributed-world-size={n_processes}", f"--distributed-rank={rank}",
            "--distributed-backend=gloo",
        ]  # fmt: skip
    with open(f"{folder}/log.{rank}", "w") as log, contextlib.redirect_stderr(log):
        cli_main()


def train(data: Path, folder: Path, n_processes: int, *more: str) -> tuple[Any, dict[str, float]]:
    """(parameters after one epoch, mean of every logged value)."""
    folder.mkdir()
    arguments = (n_processes, str(folder), [str(data), *FLAGS, *more])
    # Forked, as importing fairseq anew takes each process seconds.
    torch.multiprocessing.start_processes(_train, arguments, n_processes, start_method="fork")
    state = load_checkpoint_to_cpu(str(folder / "checkpoint_last.pt"))
    meters = {key: meter for _, key, _, meter in state["extra_state"]["metrics"]["train"]}
    return state["model"], {key: float(meters[key]["sum"] / meters[key]["count"]) for key in TERMS}


@pytest.fixture(scope="module")
def one_process(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    """What one process trains with 2 and 4 batches in an update, 2 sentences in a batch."""
    folder = tmp_path_factory.mktemp("one_process")
    return {
        batches: train(data, folder / str(batches), 1, f"--update-freq={batches}")
        for batches in (2, 4)
    }


def test_the_terms_are_exercised(one_process: dict[int, Any]) -> None:
    (parameters, means), (others, _) = one_process.values()
    assert all(means[name] > 1e-4 for name in TERMS)
    for name, value in parameters.items():
        # Softmax undoes what a key's bias does, so it has no gradient; "version" is a constant.
        if not name.endswith(("k_proj.bias", "version")):
            assert (value - others[name]).abs().max() > 1e-4, name


@pytest.mark.parametrize(
    ("update_freq", "flags"),
    [
        (1, "--ddp-backend pytorch_ddp"),
        (1, "--ddp-backend legacy_ddp"),
        (2, "--ddp-backend c10d --checkpoint-activations"),  # c10d is pytorch_ddp
        (2, "--ddp-backend legacy_ddp"),
        (1, "--ddp-backend pytorch_ddp --find-unused-parameters"),
    ],
)
def test_two_processes_are_one(
    data: Path, tmp_path: Path, one_process: dict[int, Any], update_freq: int, flags: str
) -> None:
    """Same parameters and same logged values; checkpointing and DDP's search change nothing."""
    options = (f"--update-freq={update_freq}", *flags.split())
    actual = train(data, tmp_path / "two_processes", 2, *options)
    torch.testing.assert_close(actual, one_process[2 * update_freq], rtol=1e-5, atol=1e-6)


def test_a_process_without_sentences_adds_nothing(data: Path, tmp_path: Path) -> None:
    """3 batches, 2 processes: in the second update one of them has a dummy batch."""
    one = train(data, tmp_path / "one", 1, "--batch-size=3", "--update-freq=2")
    two = train(data, tmp_path / "two", 2, "--batch-size=3")
    torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-6)
