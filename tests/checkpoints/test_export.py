"""Exported checkpoints: plain fairseq loads them, computes the same and trains on."""

from __future__ import annotations

import argparse
import enum
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fairseq.checkpoint_utils import load_model_ensemble
from fairseq.criterions import register_criterion
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import (
    ARCH_CONFIG_REGISTRY,
    ARCH_MODEL_REGISTRY,
    register_model,
    register_model_architecture,
)
from fairseq.models.roberta import RobertaModel
from fairseq.models.transformer import (
    TransformerConfig,
    TransformerModel,
    TransformerModelBase,
)

from lrdrop_fairseq.checkpoints import export as exporting
from lrdrop_fairseq.checkpoints.export import export, plain
from lrdrop_fairseq.checkpoints.export_options import ExportError
from lrdrop_fairseq.criterions.label_smoothed_cross_entropy import (
    LRDropLabelSmoothedCrossEntropyConfig,
    LRDropLabelSmoothedCrossEntropyCriterion,
)
from lrdrop_fairseq.export import load, main
from lrdrop_fairseq.models.exposed import ExposesLayerStates
from tests import toy_run as toy
from tests.toy import checkpoint_of, make_sample, make_trainer
from tests.toy_sentences import HEAD, make_sentence_model, make_sentence_task, make_sentences


@pytest.fixture(scope="module")
def exported(toy_run: toy.ToyRun) -> Path:
    return toy.export(toy_run.checkpoint, toy_run.texts / "exported" / "whole.pt")


# --- the trained model ---------------------------------------------------------------------


def test_plain_generate_gives_the_same(
    toy_run: toy.ToyRun, generated: dict[int, tuple[float, str]], exported: Path
) -> None:
    """The same tokens and scores, digit by digit, from a process that never saw the plugin."""
    output = toy.without_plugin(
        "fairseq_cli.generate", toy_run.data, "--path", exported, *toy.GENERATE
    )
    assert toy.hypotheses(output) == generated


def test_plain_training_goes_on(toy_run: toy.ToyRun, exported: Path) -> None:
    """With its optimizer: at the next update, and without the meters of LR-Drop's terms."""
    save_dir = exported.parent / "resumed"
    output = toy.without_plugin(
        "fairseq_cli.train", toy_run.data, "--cpu", "--num-workers=0", "--save-dir", save_dir,
        "--arch=transformer_tiny", "--encoder-layers=1", "--decoder-layers=1",
        "--encoder-embed-dim=128", "--encoder-ffn-embed-dim=256", "--encoder-attention-heads=4",
        "--decoder-attention-heads=4", "--share-all-embeddings", "--encoder-normalize-before",
        "--decoder-normalize-before", "--criterion=label_smoothed_cross_entropy",
        "--optimizer=adam", "--adam-betas=(0.9, 0.98)", "--lr=0.003",
        "--lr-scheduler=inverse_sqrt", "--warmup-updates=40", "--max-tokens=400",
        "--restore-file", exported, "--max-update=123", "--disable-validation",
        "--log-format=json", "--log-interval=1",
    )  # fmt: skip
    assert "@ 120 updates" in output
    lines = [json.loads(line[line.index("{") :]) for line in output.splitlines() if "gnorm" in line]
    assert [line["num_updates"] for line in lines[:3]] == ["121", "122", "123"]
    terms = ("hidden_loss", "attention_loss", "output_loss")
    assert not [key for line in lines for key in line if key.endswith(terms)]
    state = torch.load(save_dir / "checkpoint_last.pt", weights_only=False)
    steps = {entry["step"] for entry in state["last_optimizer_state"]["state"].values()}
    assert steps == {123}


def test_nothing_names_the_plugin(toy_run: toy.ToyRun, exported: Path) -> None:
    original, result = toy_run.checkpoint.read_bytes(), exported.read_bytes()
    for name in (b"lr_drop_", b"LRDrop", b"hidden_loss", toy.PLUGIN.encode()):
        assert name in original and name not in result


def test_drop_optimizer(toy_run: toy.ToyRun, exported: Path, capsys: Any) -> None:
    small = exported.parent / "small.pt"
    assert main([str(toy_run.checkpoint), str(small), "--drop-optimizer"]) == 0
    assert "transformer, label_smoothed_cross_entropy" in capsys.readouterr().out
    assert small.stat().st_size < 0.4 * exported.stat().st_size
    whole, rest = load(exported), load(small)
    assert whole.keys() - rest.keys() == {"last_optimizer_state"}
    assert rest["model"].keys() == whole["model"].keys()


# --- in one process: what the trainer writes, and what it makes of the result ----------------


def trained(path: Path, *flags: str) -> dict[str, Any]:
    """The checkpoint after one update with LR-Drop."""
    trainer = make_trainer("--dropout=0.1", *flags)
    trainer.train_step([make_sample()])
    return checkpoint_of(trainer, path)


def test_the_next_update_is_that_of_the_plain_criterion(tmp_path: Path) -> None:
    """To the last bit that of LR-Drop with all weights 0, which needs no export."""
    exported = export(trained(tmp_path / "lr_drop.pt"))
    torch.save(exported, tmp_path / "plain.pt")
    weights = [f"--lr-drop-{term}-weight=0" for term in ("hidden", "attention", "output")]
    parent = ["--arch=transformer", "--criterion=label_smoothed_cross_entropy"]
    results = []
    for name, flags in {"lr_drop.pt": weights, "plain.pt": parent}.items():
        trainer = make_trainer("--dropout=0.1", *flags, seed=2)
        trainer.load_checkpoint(str(tmp_path / name))
        assert trainer.get_num_updates() == 1
        trainer.train_step([make_sample(seed=5)])
        results.append(trainer.model.state_dict())
    assert type(trainer.get_model()) is TransformerModel
    for key, value in results[0].items():
        assert torch.equal(value, results[1][key]), key


def test_drop_optimizer_drops_the_moving_average(tmp_path: Path) -> None:
    checkpoint = trained(tmp_path / "c.pt", "--store-ema", "--ema-fp32")
    assert "ema" in export(checkpoint)["extra_state"]
    result = export(checkpoint, drop_optimizer=True)
    assert "last_optimizer_state" not in result
    assert not [key for key in result["extra_state"] if key.startswith("ema")]
    assert "last_optimizer_state" in checkpoint and "ema" in checkpoint["extra_state"], "input kept"


def restored(result: dict[str, Any]) -> Any:
    """The configuration that fairseq makes of an exported checkpoint."""
    return convert_namespace_to_omegaconf(argparse.Namespace(**vars(result["args"])))


@pytest.fixture
def any_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """For checkpoints of which the options alone matter."""
    monkeypatch.setattr(exporting, "check_parameters", lambda options, parameters: None)


SIZES = (
    "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_layers", "encoder_attention_heads",
    "decoder_layers", "decoder_attention_heads", "decoder_embed_dim", "max_source_positions",
)  # fmt: skip


@pytest.mark.parametrize(
    ("arch", "parent"),
    [
        ("lr_drop_transformer", "transformer"),
        ("lr_drop_transformer_iwslt_de_en", "transformer_iwslt_de_en"),
        ("lr_drop_transformer_wmt_en_de", "transformer_wmt_en_de"),
        ("lr_drop_transformer_vaswani_wmt_en_de_big", "transformer_vaswani_wmt_en_de_big"),
        ("lr_drop_transformer_multi30k", "transformer"),
        ("lr_drop_bart", "bart_large"),
        ("lr_drop_bart_base", "bart_base"),
        ("lr_drop_bart_large", "bart_large"),
        ("lr_drop_roberta", "roberta"),
        ("lr_drop_roberta_base", "roberta_base"),
        ("lr_drop_roberta_large", "roberta_large"),
    ],
)
def test_architectures(arch: str, parent: str, any_parameters: None) -> None:
    """The parent has the same sizes, even where its own architecture has others."""
    options = argparse.Namespace(arch=arch, criterion="lr_drop_sentence_prediction", task=None)
    checkpoint = {"model": {}, "args": options, "extra_state": {}}
    checkpoint["optimizer_history"] = [
        {"criterion_name": "LRDropSentencePredictionCriterion", "num_updates": 1}
    ]
    result = export(checkpoint)
    assert (result["args"].arch, result["args"].criterion) == (parent, "sentence_prediction")
    assert result["optimizer_history"][0]["criterion_name"] == "SentencePredictionCriterion"
    expected = argparse.Namespace()
    ARCH_CONFIG_REGISTRY[arch](expected)
    actual = argparse.Namespace(**vars(result["args"]))
    ARCH_CONFIG_REGISTRY[parent](actual)
    for size in SIZES:
        assert getattr(actual, size, None) == getattr(expected, size, None), size
    assert ARCH_MODEL_REGISTRY[parent] in ARCH_MODEL_REGISTRY[arch].__mro__


def test_sentence_model(tmp_path: Path) -> None:
    """The parent answers the same with it, its classification head included."""
    model = make_sentence_model("lr_drop_roberta_base", task := make_sentence_task()).eval()
    options = argparse.Namespace(**vars(model.args), criterion="lr_drop_sentence_prediction")
    history = [{"criterion_name": "LRDropSentencePredictionCriterion", "num_updates": 1}]
    history[0] |= {"optimizer_name": "FairseqAdam", "lr_scheduler_state": {}}
    checkpoint = {"model": model.state_dict(), "args": options, "optimizer_history": history}
    meters = [(0, name, "AverageMeter", {}) for name in ("loss", "task_loss", "output_loss")]
    extra = {"train_iterator": {"epoch": 1}, "metrics": {"default": meters}}
    result = export({**checkpoint, "extra_state": extra})
    assert result["extra_state"]["metrics"] == {"default": meters[:1]}
    torch.save(result, tmp_path / "plain.pt")
    (parent,), _ = load_model_ensemble([str(tmp_path / "plain.pt")], task=task)
    assert type(parent) is RobertaModel
    net_input = {**make_sentences()["net_input"], "features_only": True}
    for head in (HEAD, None):
        expected = model(**net_input, classification_head_name=head)[0]
        assert torch.equal(parent.eval()(**net_input, classification_head_name=head)[0], expected)


def test_the_task_with_batches_by_length_becomes_fairseqs(any_parameters: None) -> None:
    options = argparse.Namespace(arch="roberta", criterion="sentence_prediction")
    options.task, options.batch_by_length = "lr_drop_sentence_prediction", True
    checkpoint = {"model": {}, "args": options, "extra_state": {}, "optimizer_history": []}
    exported = export(checkpoint)["args"]
    assert exported.task == "sentence_prediction" and "batch_by_length" not in exported


@pytest.mark.parametrize("epsilon", [None, 1e-5, 1e-12])
def test_another_epsilon_than_fairseqs_is_warned_of(
    epsilon: float | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    any_parameters: None,
) -> None:
    """Plain fairseq has no option for it, so this is the one thing that the parent lacks."""
    options = argparse.Namespace(arch="lr_drop_roberta", criterion="sentence_prediction", task=None)
    options.layer_norm_epsilon = epsilon
    history = [{"criterion_name": "SentencePredictionCriterion"}]
    checkpoint = {"model": {}, "args": options, "extra_state": {}, "optimizer_history": history}
    torch.save(checkpoint, tmp_path / "c.pt")
    assert main([str(tmp_path / "c.pt"), str(tmp_path / "out.pt")]) == 0
    said = capsys.readouterr().err
    if epsilon == 1e-12:
        assert "NOT quite the same model" in said and "1e-12, but plain fairseq" in said
    else:
        assert not said


@register_model("export_test_parent")
class Parent(TransformerModel):
    """Somebody's own architecture without LR-Drop."""


@register_model("export_test_own")
class Own(ExposesLayerStates, Parent):
    """And with it."""


@register_criterion("export_test_criterion", dataclass=LRDropLabelSmoothedCrossEntropyConfig)
class OwnCriterion(LRDropLabelSmoothedCrossEntropyCriterion):
    """Derived from the plugin's."""


@register_model_architecture("export_test_parent", "export_test_parent_wide")
def parent_wide(args: Any) -> None:
    args.encoder_layers = getattr(args, "encoder_layers", 7)


@register_model_architecture("export_test_own", "export_test_own_small")
def own_small(args: Any) -> None:
    args.encoder_layers = getattr(args, "encoder_layers", 1)


@register_model("export_test_tree", dataclass=TransformerConfig)
class Tree(TransformerModelBase):
    """An architecture whose options are no flags."""


@register_model("export_test_own_tree", dataclass=TransformerConfig)
class OwnTree(ExposesLayerStates, Tree):
    """And with LR-Drop."""


def test_an_architecture_and_a_criterion_of_ones_own(tmp_path: Path) -> None:
    """Its parent is what it was made of, and not fairseq's Transformer."""
    checkpoint = trained(
        tmp_path / "c.pt",
        "--arch=export_test_own_small",
        "--criterion=export_test_criterion",
        "--lr-drop-start=0",
    )
    result = export(checkpoint)
    assert result["args"].arch == "export_test_parent_wide"
    assert result["args"].criterion == "label_smoothed_cross_entropy"
    name = result["optimizer_history"][-1]["criterion_name"]
    assert name == "LabelSmoothedCrossEntropyCriterion"


def test_hydra_keeps_its_options_in_a_tree(tmp_path: Path) -> None:
    """fairseq-hydra-train's checkpoint gives the options of the same run of fairseq-train."""
    checkpoint = trained(tmp_path / "c.pt", "--encoder-normalize-before", "--source-lang=de")
    expected = restored(export(checkpoint))
    flat = vars(checkpoint["cfg"]["model"])
    model = {key: flat[key] for key in flat if key.startswith(("_", "encoder", "decoder"))}
    checkpoint["cfg"]["model"] = {**model, "dropout": 0.1, "max_source_positions": 64}
    checkpoint["cfg"]["job_logging_cfg"] = {"version": 1}
    actual = restored(export(checkpoint))
    for key, value in model.items():
        if key != "_name":
            assert getattr(actual.model, key) == value, key
    for group in ("task", "criterion", "optimizer", "lr_scheduler", "optimization", "dataset"):
        assert actual[group] == expected[group]
    assert not hasattr(actual.model, "version") and not hasattr(actual.model, "beam")
    assert actual.model.arch == "transformer" and actual.model.max_source_positions == 64


def test_options_of_fairseq_0_10(tmp_path: Path) -> None:
    checkpoint = trained(tmp_path / "c.pt")
    expected = export(checkpoint)["args"]
    options = {k: v for k, v in vars(checkpoint["cfg"].pop("model")).items() if k != "_name"}
    result = export({**checkpoint, "cfg": None, "args": argparse.Namespace(**options)})["args"]
    assert len(result) > 100 and not [key for key in result if key.startswith("lr_drop")]
    assert result == {key: expected[key] for key in result} == vars(result)


class Colour(enum.Enum):
    RED = "red"


def test_plain_values() -> None:
    tensor = torch.ones(2)
    value = {
        "a": argparse.Namespace(x=np.float32(0.5), y=np.array([1, 2])),
        "b": ((1, np.int64(2)), Colour.RED),
        3: [tensor, None, True],
    }
    result = plain(value, "")
    assert result == {"a": {"x": 0.5, "y": [1, 2]}, "b": ((1, 2), "red"), 3: [tensor, None, True]}
    assert result[3][0] is tensor
    assert type(result["b"][0][1]) is int


# --- errors --------------------------------------------------------------------------------


def refused(checkpoint: Any, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        export(checkpoint)


def test_errors(tmp_path: Path) -> None:
    checkpoint = trained(tmp_path / "c.pt")
    refused([1], "no checkpoint of fairseq-train")
    refused({"weight": torch.ones(1)}, "no checkpoint of fairseq-train")
    for name in ("model", "optimizer_history", "extra_state"):
        refused({**checkpoint, name: None}, "no checkpoint of fairseq-train")
    refused({**checkpoint, "cfg": None}, "has no options")
    refused(export(checkpoint), "an ordinary checkpoint already")
    refused({**checkpoint, "task_state": {"d": object()}}, "task_state.d holds a object")
    checkpoint["cfg"]["criterion"]["_name"] = "lost"
    refused(checkpoint, "criterion 'lost' is unknown: pass the --user-dir")
    checkpoint["cfg"]["model"]._name = "export_test_own_tree"
    refused(checkpoint, "export_test_tree, the parent of .* keeps its options in a dataclass")
    checkpoint["cfg"]["model"]._name = "lost"
    refused(checkpoint, "architecture 'lost' is unknown: pass the --user-dir")


def test_parameters_that_are_not_those_of_the_model(tmp_path: Path) -> None:
    checkpoint = trained(tmp_path / "c.pt")
    model = checkpoint["model"]
    name = "decoder.layers.1.fc1.bias"
    refused({**checkpoint, "model": {}}, "holds no parameters")
    without = {key: value for key, value in model.items() if key != name}
    refused({**checkpoint, "model": without}, f'not those of transformer: Missing .* "{name}"')
    more = {**model, "decoder.adapter": torch.ones(1)}
    refused({**checkpoint, "model": more}, 'Unexpected key.* "decoder.adapter"')
    other = {**model, name: torch.ones(5)}
    refused({**checkpoint, "model": other}, rf"size mismatch for {name}: .*\[5\].*\[24\]")
    refused({**checkpoint, "model": {"w": torch.ones(1)}}, "it has no embeddings")
    damaged = {**model, name: torch.full((24,), float("nan"))}
    refused({**checkpoint, "model": damaged}, f"parameter {name} holds values that are not finite")
    assert export(checkpoint)["model"].keys() == model.keys()


def test_command_line_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, out = tmp_path / "c.pt", tmp_path / "new" / "out.pt"
    trained(checkpoint)
    (tmp_path / "text.pt").write_text("no checkpoint")

    def error(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 1
        return capsys.readouterr().err

    assert "missing.pt: no such checkpoint" in error(tmp_path / "missing.pt", out)
    unreadable = error(tmp_path / "text.pt", out)
    assert "text.pt: cannot be read as a checkpoint (Unsupported operand" in unreadable
    assert unreadable.count("\n") == 1, "torch's advice to load the file unsafely is left out"
    assert "--user-dir nowhere: cannot be imported" in error(checkpoint, out, "--user-dir=nowhere")
    assert "is the checkpoint itself" in error(checkpoint, checkpoint, "--force")
    assert not out.parent.exists()
    assert main([str(checkpoint), str(out)]) == 0
    before = out.read_bytes()
    assert "out.pt exists" in error(checkpoint, out, "--drop-optimizer")
    assert "an ordinary checkpoint already" in error(out, tmp_path / "again.pt")
    assert out.read_bytes() == before
    assert main([str(checkpoint), str(out), "--drop-optimizer", "--force"]) == 0
    assert len(out.read_bytes()) < len(before)
    assert list(out.parent.iterdir()) == [out]


def test_user_dir(tmp_path: Path) -> None:
    """An architecture that only its own user-dir knows; the command says so without it."""
    own = tmp_path / "own_plugin"
    own.mkdir()
    (own / "__init__.py").write_text(
        "from fairseq.models import register_model, register_model_architecture\n"
        "from lrdrop_fairseq.models.transformer import LRDropTransformer\n"
        "@register_model('only_here')\n"
        "class OnlyHere(LRDropTransformer):\n"
        "    pass\n"
        "register_model_architecture('only_here', 'only_here')(lambda args: None)\n"
    )
    state = trained(tmp_path / "c.pt")
    state["cfg"]["model"]._name = "only_here"
    torch.save(state, tmp_path / "own.pt")
    assert main([str(tmp_path / "own.pt"), str(tmp_path / "out.pt"), f"--user-dir={own}"]) == 0
    assert load(tmp_path / "out.pt")["args"].arch == "transformer"
