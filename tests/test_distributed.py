"""Two processes train as one process does that sees the same sentences in one update.

Everything is real but the passes: without dropout they would be the same and the three terms 0.
So models of our own scale the input of their layers in the second pass, in a fixed way.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo  # which every optimizer imports: here once, and not in each process
import torch.multiprocessing
from fairseq.checkpoint_utils import load_checkpoint_to_cpu
from fairseq.logging import metrics
from fairseq.models import (
    ARCH_CONFIG_REGISTRY,
    ARCH_MODEL_REGISTRY,
    register_model,
    register_model_architecture,
)
from fairseq.modules import MultiheadAttention
from fairseq_cli.train import cli_main

from tests.toy import TERMS, perturb_layers, write_data
from tests.toy_sentences import write_sentences

COMMON = (
    "--cpu --num-workers 0 --seed 1 "
    "--encoder-layers 2 --encoder-embed-dim 16 --encoder-ffn-embed-dim 24 "
    "--encoder-attention-heads 2 --dropout 0 --attention-dropout 0 --activation-dropout 0 "
    "--lr-drop-start 0 --lr-drop-hidden-weight 0.7 --lr-drop-attention-weight 3 "
    "--lr-drop-output-weight 2.5 "
    "--optimizer sgd --lr 1 --lr-scheduler fixed --clip-norm 0 "
    "--batch-size 2 --required-batch-size-multiple 1 --max-epoch 1 --disable-validation "
)
DECODER = (
    "--decoder-layers 2 --decoder-embed-dim 16 --decoder-ffn-embed-dim 24 "
    "--decoder-attention-heads 4 "
)
TRANSLATION = (
    COMMON
    + DECODER
    + (
        "--task translation --source-lang de --target-lang en "
        "--criterion lr_drop_label_smoothed_cross_entropy --label-smoothing 0.1 "
    )
)
SENTENCES = COMMON + (
    "--task sentence_prediction --max-positions 62 --criterion lr_drop_sentence_prediction "
    "--lr 0.1 "
)
SENTENCE_TERMS = ("loss", "task_loss", "hidden_loss", "attention_loss", "output_loss")


def register_perturbed() -> None:
    """Register the ``perturbed_…`` architectures; in the processes that train only, others list
    all names."""
    for base in ("transformer", "bart", "roberta", "transformer_lm"):
        name, ours = f"perturbed_{base}", f"lr_drop_{base}"
        register_model(name)(type(name, (Perturbed, ARCH_MODEL_REGISTRY[ours]), {}))
        register_model_architecture(name, name)(ARCH_CONFIG_REGISTRY[ours])


class Perturbed:
    """Also has scores of about 1, where the initialization of BERT gives none to speak of."""

    @classmethod
    def build_model(cls, *args: Any, **kwargs: Any) -> Any:
        model = super().build_model(*args, **kwargs)  # type: ignore[misc]
        perturb_layers(model)
        for module in model.modules():
            if isinstance(module, MultiheadAttention):
                for projection in (module.q_proj, module.k_proj):
                    torch.nn.init.xavier_uniform_(projection.weight)
        return model


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 sentence pairs of 8 different lengths: no two batches have as many tokens."""
    lengths = [(11 - i, 2 + i) for i in range(8)]
    return write_data(tmp_path_factory.mktemp("data"), {"train": lengths})


def _train(rank: int, n_processes: int, folder: str, flags: list[str]) -> None:
    torch.set_num_threads(1)
    metrics.reset()  # of what other tests have trained in the process that this is a copy of
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


def train(
    data: Path,
    folder: Path,
    n_processes: int,
    *more: str,
    flags: str = TRANSLATION + "--arch perturbed_transformer",
    terms: tuple[str, ...] = TERMS,
) -> tuple[Any, dict[str, float]]:
    """(parameters after one epoch, mean of every logged value)."""
    folder.mkdir()
    arguments = (n_processes, str(folder), [str(data), *flags.split(), *more])
    # Forked, as importing fairseq anew takes each process seconds.
    torch.multiprocessing.start_processes(_train, arguments, n_processes, start_method="fork")
    state = load_checkpoint_to_cpu(str(folder / "checkpoint_last.pt"))
    meters = {key: meter for _, key, _, meter in state["extra_state"]["metrics"]["train"]}
    return state["model"], {key: float(meters[key]["sum"] / meters[key]["count"]) for key in terms}


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


@pytest.mark.parametrize("ddp", ["pytorch_ddp", "legacy_ddp"])
def test_the_terms_start_in_all_processes_at_once(
    data: Path, tmp_path: Path, one_process: dict[int, Any], ddp: str
) -> None:
    """The first update is plain, the second has half of the weights."""
    schedule = ("--lr-drop-start=1", "--lr-drop-ramp=2")
    one = train(data, tmp_path / "one", 1, "--update-freq=2", *schedule)
    two = train(data, tmp_path / "two", 2, f"--ddp-backend={ddp}", *schedule)
    torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-6)
    from_the_start = one_process[2]
    assert one[1]["loss"] < from_the_start[1]["loss"]


def test_a_process_without_sentences_adds_nothing(data: Path, tmp_path: Path) -> None:
    """3 batches, 2 processes: in the second update one of them has a dummy batch."""
    one = train(data, tmp_path / "one", 1, "--batch-size=3", "--update-freq=2")
    two = train(data, tmp_path / "two", 2, "--batch-size=3")
    torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("flags", ["--ddp-backend pytorch_ddp", "--ddp-backend legacy_ddp"])
def test_two_processes_train_bart_as_one(data: Path, tmp_path: Path, flags: str) -> None:
    """With DDP's search for unused parameters, as the recipe of summarization has it."""
    bart = TRANSLATION + "--arch perturbed_bart --share-all-embeddings "
    one = train(data, tmp_path / "one", 1, "--update-freq=2", flags=bart)
    more = "--find-unused-parameters --checkpoint-activations "
    two = train(data, tmp_path / "two", 2, flags=bart + more + flags)
    assert all(value > 1e-4 for value in one[1].values()), one[1]
    torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("flags", ["--ddp-backend pytorch_ddp", "--ddp-backend legacy_ddp"])
@pytest.mark.parametrize(
    "model",
    [
        "--arch perturbed_roberta --num-classes 3",
        "--arch perturbed_roberta --num-classes 1 --regression-target",
        f"--arch perturbed_bart --num-classes 3 --add-prev-output-tokens {DECODER}",
    ],
    ids=["classes", "regression", "bart"],
)
def test_two_processes_predict_as_one(tmp_path: Path, model: str, flags: str) -> None:
    """5 batches: in the last update one process has a dummy batch. DDP needs its search, as the
    head of the language model is not used."""
    lengths = [4 + i for i in range(10)]
    data = write_sentences(tmp_path / "data", lengths, regression="regression" in model)
    common = dict(flags=f"{SENTENCES} {model}", terms=SENTENCE_TERMS)
    one = train(data, tmp_path / "one", 1, "--update-freq=2", **common)
    two = train(data, tmp_path / "two", 2, "--find-unused-parameters", *flags.split(), **common)
    assert all(value > 1e-4 for value in one[1].values()), one[1]
    torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-6)


def test_validation_gathers_the_predictions_of_all(tmp_path: Path) -> None:
    """For ``--report-…``; fairseq tries to add the lists up."""
    data = write_sentences(tmp_path / "data", [4 + i for i in range(10)], regression=True)
    for file in data.glob("*/train.*"):
        shutil.copy(file, file.with_name(file.name.replace("train", "valid")))
    flags = SENTENCES.replace("--disable-validation", "") + (
        "--arch perturbed_roberta --num-classes 1 --regression-target --find-unused-parameters "
        "--report-pearson-and-spearman --best-checkpoint-metric pearson_and_spearman"
    )
    correlations = []
    for n, frequency in ((1, "--update-freq=2"), (2, "--update-freq=1")):
        train(data, tmp_path / f"{n}", n, frequency, flags=flags, terms=SENTENCE_TERMS)
        state = load_checkpoint_to_cpu(str(tmp_path / f"{n}" / "checkpoint_last.pt"))
        correlations.append(state["extra_state"]["val_loss"])
    assert correlations[0] == correlations[1] != 0
