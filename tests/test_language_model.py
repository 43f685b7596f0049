"""The command-line tools on text: train, kill, resume, YAML, export, perplexity."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fairseq.checkpoint_utils import load_checkpoint_to_cpu

from lrdrop_fairseq.average_checkpoints import main as average
from lrdrop_fairseq.dropout_gap import __main__ as gap
from tests.test_end_to_end import assert_same_parameters, logged
from tests.toy_run import ENVIRONMENT, PLUGIN, export, with_plugin, without_plugin

TERMS = ("hidden_loss", "attention_loss", "output_loss")
BANDS = (
    "--adaptive-softmax-cutoff=8,16", "--adaptive-softmax-dropout=0.1", "--adaptive-input",
    "--adaptive-input-cutoff=8,16", "--adaptive-softmax-factor=2", "--adaptive-input-factor=2",
    "--tie-adaptive-weights", "--ddp-backend=legacy_ddp",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lines in which every word has one of two successors, in documents of four."""
    folder = tmp_path_factory.mktemp("data")
    draw = random.Random(0)
    for split, count in {"train": 300, "valid": 20, "test": 20}.items():
        lines = []
        for number in range(count):
            if number and number % 4 == 0:
                lines.append("")
            words = [draw.randrange(20)]
            for _ in range(draw.randrange(2, 12)):
                words.append((words[-1] * 3 + draw.randrange(2)) % 20)
            lines.append(" ".join(f"w{word}" for word in words))
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    with_plugin("fairseq_cli.preprocess", "--only-source", f"--trainpref={folder}/train.txt",
                f"--validpref={folder}/valid.txt", f"--testpref={folder}/test.txt",
                f"--destdir={folder}/data")  # fmt: skip
    return folder / "data"


def train_flags(data: Path, save_dir: Path, *more: str) -> list[str]:
    return [
        str(data), "--user-dir", PLUGIN, "--cpu", "--seed", "1", "--save-dir", str(save_dir),
        "--task", "language_modeling", "--arch", "lr_drop_transformer_lm_gpt",
        "--decoder-layers", "2", "--decoder-embed-dim", "32", "--decoder-input-dim", "32",
        "--decoder-output-dim", "32", "--decoder-ffn-embed-dim", "48",
        "--decoder-attention-heads", "4", "--dropout", "0.2",
        "--tokens-per-sample", "24", "--max-tokens", "96",
        "--criterion", "lr_drop_cross_entropy", "--lr-drop-start", "0",
        "--optimizer", "adam", "--lr", "0.005", "--lr-scheduler", "inverse_sqrt",
        "--warmup-updates", "10", "--log-format", "json", "--log-interval", "5",
        "--no-progress-bar", "--num-workers", "0", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and log of an uninterrupted run of 60 updates."""
    folder = tmp_path_factory.mktemp("trained")
    flags = train_flags(data, folder, "--max-update", "60", "--save-interval-updates", "20")
    return folder, with_plugin("fairseq_cli.train", *flags)


@pytest.fixture(scope="module")
def adaptive(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of a run with adaptive softmax and input, terms in its second half."""
    folder = tmp_path_factory.mktemp("adaptive")
    flags = train_flags(data, folder, "--max-update=40", "--lr-drop-start=0.5", *BANDS)
    output = with_plugin("fairseq_cli.train", *flags)
    assert "because of adaptive softmax" in output
    return folder / "checkpoint_last.pt"


def test_training_logs_the_terms(trained: tuple[Path, str]) -> None:
    updates = logged(trained[1], "gnorm")
    assert len(updates) >= 60 // 5
    for name in TERMS:
        assert all(float(line[name]) > 0 for line in updates)
        assert not logged(trained[1], f"valid_{name}")
    assert float(updates[-1]["nll_loss"]) < float(updates[0]["nll_loss"]) - 0.5
    for line in updates:
        assert float(line["ppl"]) == pytest.approx(2 ** float(line["nll_loss"]), rel=0.02)
        assert float(line["loss"]) > float(line["nll_loss"])
    (valid,) = logged(trained[1], "valid_ppl")[-1:]
    assert float(valid["valid_ppl"]) == pytest.approx(2 ** float(valid["valid_loss"]), rel=0.02)


def test_a_resume_counts_the_updates_before_the_start(
    adaptive: Path, data: Path, tmp_path: Path
) -> None:
    """With adaptive softmax: 15 plain updates, then 5 plain and 20 with the terms."""
    flags = ("--lr-drop-start=20", *BANDS)
    with_plugin("fairseq_cli.train", *train_flags(data, tmp_path, "--max-update=15", *flags))
    output = with_plugin(
        "fairseq_cli.train", *train_flags(data, tmp_path, "--max-update=40", *flags)
    )
    assert "Loaded checkpoint" in output and "output_loss" in output
    assert_same_parameters(tmp_path / "checkpoint_last.pt", adaptive)


def test_hydra_train_is_the_same_training(
    trained: tuple[Path, str], data: Path, tmp_path: Path
) -> None:
    """The same configuration as YAML: the same parameters after 20 updates, to the last bit."""
    config = {
        "common": {"user_dir": PLUGIN, "cpu": True, "seed": 1},
        "task": {"_name": "language_modeling", "data": str(data), "tokens_per_sample": 24},
        "criterion": {"_name": "lr_drop_cross_entropy", "lr_drop_start": 0},
        "model": {
            "_name": "lr_drop_transformer_lm_gpt", "dropout": 0.2, "decoder_layers": 2,
            "decoder_embed_dim": 32, "decoder_input_dim": 32, "decoder_output_dim": 32,
            "decoder_ffn_embed_dim": 48, "decoder_attention_heads": 4,
        },
        "optimizer": {"_name": "adam"},
        "lr_scheduler": {"_name": "inverse_sqrt", "warmup_updates": 10},
        "optimization": {"lr": [0.005], "max_update": 20},
        "dataset": {"max_tokens": 96, "num_workers": 0},
        "checkpoint": {"save_dir": str(tmp_path)},
    }  # fmt: skip
    (tmp_path / "toy.yaml").write_text(json.dumps(config))  # JSON is YAML
    with_plugin("fairseq_cli.hydra_train", f"--config-dir={tmp_path}", "--config-name=toy",
                f"hydra.run.dir={tmp_path}/hydra")  # fmt: skip
    expected = next(trained[0].glob("checkpoint_*_20.pt"))
    assert_same_parameters(tmp_path / "checkpoint_last.pt", expected)
    # And what it saved is read again: by eval_lm, and without the plugin.
    here = perplexity(with_plugin, data, tmp_path / "checkpoint_last.pt", f"--user-dir={PLUGIN}")
    plain = export(tmp_path / "checkpoint_last.pt", tmp_path / "plain.pt")
    assert perplexity(without_plugin, data, plain) == here


@pytest.mark.parametrize(
    ("more", "scored"),
    [
        (("--sample-break-mode=eos",), False),
        (("--sample-break-mode=complete", "--add-bos-token"), True),
        (("--sample-break-mode=complete", "--pad-to-fixed-length"), False),
        (("--sample-break-mode=complete_doc",), False),
        (("--sample-break-mode=none", "--add-bos-token"), False),
        (("--shorten-method=truncate", "--output-dictionary-size=16"), True),
        (("--decoder-learned-pos", "--layernorm-embedding", "--checkpoint-activations"), False),
    ],
)
def test_the_options_of_the_task_train(
    data: Path, tmp_path: Path, more: tuple[str, ...], scored: bool
) -> None:
    """And those that change what a model reads or gives are scored as without the plugin."""
    flags = train_flags(data, tmp_path, "--max-update=3", "--log-interval=1", *more)
    (*_, last) = logged(with_plugin("fairseq_cli.train", *flags), "gnorm")
    assert all(float(last[name]) > 0 for name in TERMS)
    if not scored:
        return
    plain = export(tmp_path / "checkpoint_last.pt", tmp_path / "plain.pt")
    # Without the plugin, fairseq asks NumPy 2 for what it no longer has if samples end with lines.
    of_task = ("--sample-break-mode=complete", "--add-bos", "--output-dictionary")
    flags = [flag for flag in more if flag.startswith(of_task)]
    here = perplexity(
        with_plugin, data, tmp_path / "checkpoint_last.pt", f"--user-dir={PLUGIN}", *flags
    )
    assert perplexity(without_plugin, data, plain, *flags) == here


def perplexity(run: object, data: Path, checkpoint: Path, *more: str) -> tuple[str, str]:
    """(loss, perplexity) as fairseq-eval-lm prints them."""
    output = run(  # type: ignore[operator]
        "fairseq_cli.eval_lm", str(data), f"--path={checkpoint}", "--cpu", "--batch-size=2",
        "--tokens-per-sample=24", "--required-batch-size-multiple=1", "--num-workers=0", *more,
    )  # fmt: skip
    (found,) = re.findall(r"Loss \(base 2\): ([\d.]+), Perplexity: ([\d.]+)", output)
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize(("kind", "window"), [("one matrix", 8), ("adaptive", 0)])
def test_perplexity_is_the_same_without_the_plugin(
    trained: tuple[Path, str], adaptive: Path, data: Path, tmp_path: Path, kind: str, window: int
) -> None:
    checkpoint = adaptive if kind == "adaptive" else trained[0] / "checkpoint_last.pt"
    context = f"--context-window={window}"
    here = perplexity(with_plugin, data, checkpoint, f"--user-dir={PLUGIN}", context)
    plain = export(checkpoint, tmp_path / "plain.pt")
    assert perplexity(without_plugin, data, plain, context) == here
    assert 1.5 < float(here[1]) < 20


def test_the_exported_model_trains_on_without_the_plugin(
    trained: tuple[Path, str], data: Path, tmp_path: Path
) -> None:
    """With its optimizer, from the next update on."""
    plain = export(trained[0] / "checkpoint_last.pt", tmp_path / "plain.pt")
    flags = train_flags(data, tmp_path / "on", "--max-update=63", f"--restore-file={plain}")
    for ours in ("--user-dir", "--lr-drop-start"):
        del flags[flags.index(ours) : flags.index(ours) + 2]
    flags[flags.index("lr_drop_cross_entropy")] = "cross_entropy"
    flags[flags.index("lr_drop_transformer_lm_gpt")] = "transformer_lm_gpt"
    output = without_plugin("fairseq_cli.train", *flags, "--disable-validation")
    assert "@ 60 updates" in output
    state = torch.load(tmp_path / "on" / "checkpoint_last.pt", weights_only=False)
    steps = {entry["step"] for entry in state["last_optimizer_state"]["state"].values()}
    assert steps == {63}


def test_checkpoints_average(trained: tuple[Path, str], data: Path, tmp_path: Path) -> None:
    paths = sorted(map(str, trained[0].glob("checkpoint_*_*0.pt")))
    out = tmp_path / "average.pt"
    assert len(paths) == 3 and average(["--inputs", *paths, "--output", str(out)]) == 0
    inputs = [load_checkpoint_to_cpu(path)["model"] for path in paths]
    for name, value in load_checkpoint_to_cpu(str(out))["model"].items():
        if value.is_floating_point():
            mean = torch.stack([model[name] for model in inputs]).mean(dim=0)
            torch.testing.assert_close(value, mean, msg=name)
    _, found = perplexity(with_plugin, data, out, f"--user-dir={PLUGIN}")
    assert 1.5 < float(found) < 20


def test_the_dropout_gap(
    trained: tuple[Path, str], adaptive: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(trained[0] / "checkpoint_last.pt"), str(adaptive)]
    assert gap.main([str(data), *paths]) == 0
    table = capsys.readouterr().out
    (output,) = (line for line in table.splitlines() if line.startswith("| output"))
    cells = [float(cell) for cell in output.strip("|").split("|")[1:]]
    assert len(cells) == 4 and 0 < cells[0] < cells[1] and 0 < cells[2] < cells[3]
    assert "hidden: decoder 2" in table and "encoder" not in table


def test_a_dictionary_of_another_preparation_is_refused(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    copy.mkdir()
    for path in data.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "prepare.json").write_text(json.dumps({"dictionary_sha256": "0" * 64}))
    flags = train_flags(copy, tmp_path / "run", "--max-update=1")
    done = subprocess.run(
        [sys.executable, "-m", "fairseq_cli.train", *flags], cwd=PLUGIN + "/..",
        env=ENVIRONMENT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "is not the dictionary that" in done.stderr and "Traceback" not in done.stderr


def test_fairseqs_own_checkpoint_goes_on_here(data: Path, tmp_path: Path) -> None:
    """A converged plain model, then LR-Drop from its parameters."""
    flags = train_flags(data, tmp_path / "plain", "--max-update=5")
    flags[flags.index("lr_drop_cross_entropy")] = "cross_entropy"
    flags[flags.index("lr_drop_transformer_lm_gpt")] = "transformer_lm_gpt"
    del flags[flags.index("--lr-drop-start") : flags.index("--lr-drop-start") + 2]
    with_plugin("fairseq_cli.train", *flags)
    start = f"--finetune-from-model={tmp_path}/plain/checkpoint_last.pt"
    more = train_flags(data, tmp_path / "ours", "--max-update=2", "--log-interval=1", start)
    (first, *_) = logged(with_plugin("fairseq_cli.train", *more), "gnorm")
    assert float(first["output_loss"]) > 0
