"""Trained sentence models become Hugging Face's, and predict the same for the same text."""

from __future__ import annotations

import json
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils, options
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from fairseq_cli import train
from safetensors import safe_open
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers.models import BPE
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from lrdrop_fairseq.export import load, main
from lrdrop_fairseq.import_encoder import __main__ as importing
from lrdrop_fairseq.import_encoder.text import Encoder
from tests.toy_encoders import BERT_SYMBOLS, FAIRSEQ_SYMBOLS, make_folder
from tests.toy_sentences import HEAD, write

KINDS = {
    "bert": "BertForSequenceClassification",
    "roberta": "RobertaForSequenceClassification",
    "xlm-roberta": "XLMRobertaForSequenceClassification",
}
# "The" and "7" are unknown to the toy tokenizers, which lower nothing; BERT's own class would.
FIRST = ["the old dog sleeps here", "one cat", "The quick red zebra waits by the river", "house 7"]
SECOND = ["today", "a cat sings to the small dog", "old house", "river runs"]
LABELS = ["negative", "neutral", "positive"]


@dataclass
class Trained:
    """A fine-tuned checkpoint, the encoder that it was made of, and its data."""

    checkpoint: Path
    encoder: Path
    data: Path

    def export(self, out: Path, *flags: str) -> int:
        arguments = [self.checkpoint, "--huggingface", out, "--encoder", self.encoder, *flags]
        return main(list(map(str, arguments)))


def write_data(
    folder: Path, indices: Sequence[Sequence[list[int]]], dictionary: Path, regression: bool
) -> Path:
    """The data directory of four examples; ``indices`` of their first sentences, and second."""
    for number, sentences in enumerate(indices):
        side = folder / f"input{number}"
        side.mkdir(parents=True)
        shutil.copyfile(dictionary, side / "dict.txt")
        for subset in ("train", "valid"):
            write(side / subset, [torch.tensor(sentence) for sentence in sentences])
    label = folder / "label"
    label.mkdir()
    if not regression:
        words = Dictionary()
        for name in LABELS:
            words.add_symbol(name)
        words.save(str(label / "dict.txt"))
    for subset in ("train", "valid"):
        if regression:
            (label / f"{subset}.label").write_text("0.5\n1\n0.25\n2\n")
        else:
            write(label / subset, [torch.tensor([4 + i % 3, 2]) for i in range(4)])
    return folder


def train_on(data: Path, save_dir: Path, *flags: str, classes: int = 3) -> Path:
    """``fairseq-train`` for one update, then parameters with which the text matters."""
    arguments = [
        str(data), "--task=sentence_prediction", f"--num-classes={classes}", "--cpu",
        "--init-token=0", "--batch-size=4", "--max-update=1", "--optimizer=adam", "--lr=0.05",
        "--num-workers=0", "--log-format=none", "--required-batch-size-multiple=1",
        f"--save-dir={save_dir}", "--no-epoch-checkpoints", *flags,
    ]  # fmt: skip
    if not any(flag.startswith("--criterion") for flag in flags):
        arguments.append("--criterion=lr_drop_sentence_prediction")
    args = options.parse_args_and_arch(options.get_training_parser(), arguments)
    train.main(convert_namespace_to_omegaconf(args))
    checkpoint = save_dir / "checkpoint_last.pt"
    state = load(checkpoint)
    draw(state["model"])
    torch.save(state, checkpoint)
    return checkpoint


def draw(state: dict[str, torch.Tensor]) -> None:
    """Random parameters, none 0 or 1, that let differences grow from layer to layer."""
    torch.manual_seed(5)
    for name, value in state.items():
        if value.dim() == 2:
            embedding = "embed_" in name or "lm_head" in name
            value.normal_(0, 1 if embedding else 1.5 / value.shape[1] ** 0.5)
        elif not name.endswith(".version"):
            value.normal_(1 if "norm" in name and name.endswith("weight") else 0, 0.2)
    # as in every model of fairseq
    state["encoder.sentence_encoder.embed_positions.weight"][:2] = 0


def make_trained(
    root: Path, kind: str, pairs: bool = False, regression: bool = False,
    pieces_of: Iterable[str] = (), flags: Sequence[str] = (), **config: Any,
) -> Trained:  # fmt: skip
    """A folder of that kind, imported and fine-tuned."""
    root.mkdir(exist_ok=True)
    original = root / "original"
    original.mkdir()
    make_folder(original, kind, **config)
    chosen = []
    if pieces_of:
        (root / "kept.txt").write_text("\n".join(pieces_of))
        chosen = ["--pieces-of", str(root / "kept.txt")]
    assert importing.main([str(original), str(root / "encoder"), *chosen]) == 0
    encoder = Encoder(root / "encoder")
    texts = [FIRST, SECOND] if pairs else [FIRST]
    data = write_data(
        root / "data", [list(encoder.encode(t)) for t in texts], root / "encoder" / "dict.txt",
        regression,
    )  # fmt: skip
    (data / "encoder").mkdir()
    for name in ("tokenizer.json", "import.json", "dict.txt"):
        shutil.copyfile(root / "encoder" / name, data / "encoder" / name)
    record = encoder.record
    flags = [
        *(f"--separator-token={2}" for _ in range(record["pairs"].count(" "))),
        *(["--regression-target", "--best-checkpoint-metric=loss"] if regression else []),
        "--arch", record["arch"], *record["flags"], f"--restore-file={root}/encoder/model.pt",
        "--reset-optimizer", "--reset-dataloader", "--reset-meters", "--reset-lr-scheduler", *flags,
    ]  # fmt: skip
    checkpoint = train_on(data, root / "ckpt", *flags, classes=1 if regression else 3)
    return Trained(checkpoint, root / "encoder", data)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    """A model of each kind; BERT's is of single sentences, the others' of pairs."""
    root = tmp_path_factory.mktemp("trained")
    return {kind: make_trained(root / kind, kind, pairs=kind != "bert") for kind in KINDS}


def fairseqs(trained: Trained) -> torch.Tensor:
    """The outputs of fairseq for the examples in their order, B x classes, in one padded batch."""
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(trained.checkpoint)], {"data": str(trained.data)}
    )
    dataset = task.load_dataset("valid")
    sample = dataset.collater([dataset[i] for i in range(len(dataset))])
    assert sample["net_input"]["src_tokens"].eq(1).any(), "no padding in the batch"
    with torch.no_grad():
        logits, _ = model.eval()(**sample["net_input"], classification_head_name=HEAD)
    return logits[sample["id"].argsort()]


def theirs(out: Path, *texts: list[str]) -> torch.Tensor:
    """The same of transformers, from the text on."""
    model = AutoModelForSequenceClassification.from_pretrained(str(out)).eval()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    batch = AutoTokenizer.from_pretrained(str(out))(*texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        return model(**batch).logits


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """To the rounding of float32; and the outputs are not all alike, or 0."""
    assert ours.std(dim=0).min() > 0.05
    assert torch.linalg.vector_norm(theirs - ours) < 2e-6 * torch.linalg.vector_norm(ours)


# --- the same predictions ------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_from_text(
    kind: str, trained: dict[str, Trained], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unequal lengths, unknown words and, of all but the first kind, pairs."""
    out = tmp_path / "out"
    assert trained[kind].export(out) == 0
    said = capsys.readouterr().out
    assert f"to {out}: {KINDS[kind]}, labels negative, neutral, positive" in said
    texts = [FIRST] if kind == "bert" else [FIRST, SECOND]
    assert_same(fairseqs(trained[kind]), theirs(out, *texts))
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == [KINDS[kind]] and config["model_type"] == kind
    assert config["id2label"] == {"0": "negative", "1": "neutral", "2": "positive"}
    assert config["label2id"] == {"negative": 0, "neutral": 1, "positive": 2}
    assert config["problem_type"] == "single_label_classification"
    assert config["layer_norm_eps"] == (1e-12 if kind == "bert" else 1e-5)
    with safe_open(out / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    modes = {path.stat().st_mode for path in out.iterdir()}
    assert len(modes) == 1, "some file is for its owner alone"


def test_pairs_of_bert(tmp_path: Path) -> None:
    """One [SEP] between them; transformers gives the second segment, which adds nothing."""
    trained = make_trained(tmp_path / "run", "bert", pairs=True)
    assert trained.export(tmp_path / "out") == 0
    batch = AutoTokenizer.from_pretrained(str(tmp_path / "out"))(FIRST[1], SECOND[2])
    assert batch["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]
    assert_same(fairseqs(trained), theirs(tmp_path / "out", FIRST, SECOND))


def test_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers as the model was trained on; here also without LR-Drop's criterion."""
    trained = make_trained(
        tmp_path / "run", "roberta", regression=True, flags=["--criterion=sentence_prediction"]
    )
    assert trained.export(tmp_path / "out") == 0
    assert "a regression" in capsys.readouterr().out
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["problem_type"] == "regression" and len(config["id2label"]) == 1
    ours = fairseqs(trained)
    assert ours.shape == (4, 1)
    assert_same(ours, theirs(tmp_path / "out", FIRST))


def test_pieces_that_were_left_out_read_as_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``river`` and the letters of zebra are not in the dictionary, but in the tokenizer."""
    trained = make_trained(
        tmp_path / "run", "bert", pieces_of=["the old dog sleeps here one cat quick red house by"]
    )
    assert trained.export(tmp_path / "out") == 0
    assert "they have the embedding of [UNK]" in capsys.readouterr().out
    assert_same(fairseqs(trained), theirs(tmp_path / "out", FIRST))
    tokenizer = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    words = load_file(tmp_path / "out" / "model.safetensors")[
        "bert.embeddings.word_embeddings.weight"
    ]
    assert len(words) == tokenizer.get_vocab_size()
    assert torch.equal(words[tokenizer.token_to_id("river")], words[BERT_SYMBOLS.index("[UNK]")])
    assert not torch.equal(words[tokenizer.token_to_id("house")], words[2])


def make_gpt2_tokenizer(folder: Path) -> Tokenizer:
    """A byte-level BPE in the layout of the published RoBERTa, with no weights beside it."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=FAIRSEQ_SYMBOLS, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator([*FIRST, *SECOND], trainer)
    tokenizer.add_special_tokens(["<mask>"])
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"model_type": "roberta", "vocab_size": tokenizer.get_vocab_size(),
              "type_vocab_size": 1, "pad_token_id": 1, "torch_dtype": "float16"}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 5}))
    return tokenizer


def test_fairseqs_own_roberta(tmp_path: Path) -> None:
    """Its pieces are numbers of GPT-2's BPE, in an order of their own; its epsilon is 1e-5."""
    folder = tmp_path / "published"
    tokenizer = make_gpt2_tokenizer(folder)
    # GPT-2 numbers the bytes, printable ones first, then the merges.
    alphabet = [chr(c) for c in [*range(33, 127), *range(161, 173), *range(174, 512)]][:256]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    numbers = {piece: str(i) for i, piece in enumerate([*alphabet, *("".join(m) for m in merges)])}
    assert numbers["!"] == "0" and len(numbers) == tokenizer.get_vocab_size() - 5
    dictionary = Dictionary()
    for piece in sorted(numbers, reverse=True):
        dictionary.add_symbol(numbers[piece])
    dictionary.save(str(tmp_path / "dict.txt"))
    indices = [
        [[*(dictionary.index(numbers[token]) for token in encoding.tokens), 2]
         for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
        for texts in (FIRST, SECOND)
    ]  # fmt: skip
    data = write_data(tmp_path / "data", indices, tmp_path / "dict.txt", regression=False)
    checkpoint = train_on(
        data, tmp_path / "ckpt", "--arch=lr_drop_roberta", "--encoder-layers=2",
        "--encoder-embed-dim=16", "--encoder-ffn-embed-dim=24", "--encoder-attention-heads=2",
        "--separator-token=2", "--max-positions=60",
    )  # fmt: skip
    trained, out = Trained(checkpoint, folder, data), tmp_path / "out"
    assert trained.export(out) == 0
    assert_same(fairseqs(trained), theirs(out, FIRST, SECOND))
    config = json.loads((out / "config.json").read_text())
    assert config["layer_norm_eps"] == 1e-5 and config["max_position_embeddings"] == 62
    assert AutoTokenizer.from_pretrained(str(out)).model_max_length == 60
    actual = (out / "tokenizer.json").read_bytes()
    assert actual == (folder / "tokenizer.json").read_bytes(), "the frame was right"


def test_half_precision_is_exported_as_it_is_evaluated(
    trained: dict[str, Trained], tmp_path: Path
) -> None:
    """What ``--fp16`` saves; the parameters are rounded, the arithmetic is that of float32."""
    state = load(trained["roberta"].checkpoint)
    state["model"] = {name: value.half() for name, value in state["model"].items()}
    torch.save(state, tmp_path / "half.pt")
    half = Trained(tmp_path / "half.pt", trained["roberta"].encoder, trained["roberta"].data)
    assert half.export(tmp_path / "out") == 0
    assert_same(fairseqs(half), theirs(tmp_path / "out", FIRST, SECOND))


def test_ordinary_checkpoint(
    trained: dict[str, Trained], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plain fairseq's epsilon is another than BERT's: the export says so, and follows."""
    one = trained["bert"]
    ordinary = Trained(tmp_path / "plain.pt", one.encoder, one.data)
    assert main([str(one.checkpoint), str(ordinary.checkpoint)]) == 0
    said = capsys.readouterr().err
    assert "NOT quite the same model" in said and "--layer-norm-epsilon 1e-12" in said
    assert ordinary.export(tmp_path / "out") == 0
    assert not capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "config.json").read_text())["layer_norm_eps"] == 1e-5
    assert_same(fairseqs(ordinary), theirs(tmp_path / "out", FIRST))


# --- there and back ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_import_export_import(kind: str, trained: dict[str, Trained], tmp_path: Path) -> None:
    """An encoder under a new head comes back bit for bit, and so do the original's own rows."""
    one = trained[kind]
    state = load(one.checkpoint)
    pretrained = load(one.encoder / "model.pt")["model"]
    state["model"] |= {name: pretrained[name] for name in pretrained}
    torch.save(state, tmp_path / "untrained.pt")
    untrained = Trained(tmp_path / "untrained.pt", one.encoder, one.data)
    assert untrained.export(tmp_path / "out") == 0
    assert importing.main([str(tmp_path / "out"), str(tmp_path / "again")]) == 0
    again = load(tmp_path / "again" / "model.pt")["model"]
    names = [name for name in pretrained if name.startswith("encoder.sentence_encoder.")]
    assert len(names) == 2 * 16 + 5
    assert all(torch.equal(again[name], pretrained[name]) for name in names)
    assert (tmp_path / "again" / "dict.txt").read_bytes() == (one.encoder / "dict.txt").read_bytes()
    original = load_file(one.encoder.parent / "original" / "model.safetensors")
    exported = load_file(tmp_path / "out" / "model.safetensors")
    folded = ("position_embeddings.weight", "token_type_embeddings.weight")
    same = [name for name in exported if name in original and not name.endswith(folded)]
    assert len(same) == 2 * 16 + 3
    assert all(torch.equal(exported[name], original[name]) for name in same)


def test_the_configs_own_activation_and_dropout(tmp_path: Path) -> None:
    """fairseq has one name for what they have several of; dropout is that of the training."""
    trained = make_trained(
        tmp_path / "run", "bert", hidden_act="gelu_pytorch_tanh", type_vocab_size=1,
        flags=["--dropout=0.3", "--pooler-dropout=0.4", "--attention-dropout=0.05"],
    )  # fmt: skip
    assert trained.export(tmp_path / "out") == 0
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["hidden_act"] == "gelu_pytorch_tanh" and config["type_vocab_size"] == 1
    assert (config["hidden_dropout_prob"], config["classifier_dropout"]) == (0.3, 0.4)
    assert config["attention_probs_dropout_prob"] == 0.05
    assert_same(fairseqs(trained), theirs(tmp_path / "out", FIRST))


# --- the tokenizer -------------------------------------------------------------------------


def test_the_frame_of_the_training_is_put_into_the_tokenizer(
    trained: dict[str, Trained], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The toy tokenizers have none; the user is told."""
    assert trained["roberta"].export(tmp_path / "out") == 0
    assert "here it does: <s> A </s> </s> B </s>" in capsys.readouterr().out
    tokenizer = AutoTokenizer.from_pretrained(str(tmp_path / "out"))
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("one cat", "today")["input_ids"])
    assert tokens == ["<s>", "one", "cat", "</s>", "</s>", "today", "</s>"]
    assert "token_type_ids" not in tokenizer("one cat")


def test_exports_without_transformers(
    trained: dict[str, Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """It needs safetensors and tokenizers; without them it says what to install."""
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert trained["bert"].export(tmp_path / "out") == 0
    for package in ("safetensors.torch", "tokenizers"):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, package, None)
            assert trained["bert"].export(tmp_path / "new") == 1
        assert "pip install 'lrdrop-fairseq[huggingface]'" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# --- what is refused -----------------------------------------------------------------------


def refused(trained: Trained, out: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """What is said; nothing is left of OUT_FOLDER."""
    assert trained.export(out, *flags) == 1
    assert not list(out.parent.glob(f"{out.name}*")), "something was left"
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("export: error: ")
    return said


def test_other_models_are_refused(
    trained: dict[str, Trained], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, out = trained["bert"], tmp_path / "out"
    pretrained = Trained(one.encoder / "model.pt", one.encoder, one.data)
    said = refused(pretrained, out, capsys, f"--data={one.data}")
    assert "it has no classification head 'sentence_classification_head'" in said
    assert "no such checkpoint" in refused(
        Trained(tmp_path / "absent.pt", one.encoder, one.data), out, capsys
    )

    def changed(**values: Any) -> str:
        state = load(one.checkpoint)
        vars(state["cfg"]["model"]).update(values)
        torch.save(state, tmp_path / "changed.pt")
        return refused(Trained(tmp_path / "changed.pt", one.encoder, one.data), out, capsys)

    assert "architecture lr_drop_bart: only fairseq's RoBERTa" in changed(_name="lr_drop_bart")
    assert "pass the --user-dir" in changed(_name="lost")
    assert "pooler_activation_fn is 'relu'" in changed(pooler_activation_fn="relu")
    assert "encoder_normalize_before is True" in changed(encoder_normalize_before=True)
    assert "activation_fn is 'tanh'" in changed(activation_fn="tanh")
    assert "not of one model" in changed(encoder_layers=1)
    state = load(one.checkpoint)
    state["cfg"]["task"]["_name"] = "sentence_ranking"
    torch.save(state, tmp_path / "changed.pt")
    ranking = Trained(tmp_path / "changed.pt", one.encoder, one.data)
    assert "--task sentence_ranking, which is unknown" in refused(ranking, out, capsys)


def test_parameters_without_a_place_are_refused(
    trained: dict[str, Trained], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of quantization noise would be used at inference, too."""
    one = trained["bert"]
    state = load(one.checkpoint)
    state["model"]["encoder.sentence_encoder.quant_noise.weight"] = torch.ones(16, 16)
    vars(state["cfg"]["model"]).update(quant_noise_pq=0.1, quant_noise_pq_block_size=4)
    torch.save(state, tmp_path / "changed.pt")
    noisy = Trained(tmp_path / "changed.pt", one.encoder, one.data)
    said = refused(noisy, tmp_path / "out", capsys)
    assert "encoder.sentence_encoder.quant_noise.weight has no place" in said


def test_data_and_encoder_that_do_not_belong_to_the_checkpoint_are_refused(
    trained: dict[str, Trained], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bert, roberta, out = trained["bert"], trained["roberta"], tmp_path / "out"
    said = refused(bert, out, capsys, f"--data={tmp_path / 'moved'}")
    assert "input0/dict.txt does not exist" in said and "name it with --data" in said
    assert "it was trained on other data" in refused(bert, out, capsys, f"--data={roberta.data}")
    data = tmp_path / "data"
    shutil.copytree(bert.data, data)
    (data / "label" / "dict.txt").write_text("positive 1\nneutral 1\nnegative 1\n")
    said = refused(bert, out, capsys, f"--data={data}")
    assert f"trained with another dictionary than {data}/label/dict.txt" in said
    (data / "label" / "dict.txt").write_text("yes 1\nno 1\nmadeupword0000 0\n")
    assert "has 2 labels" in refused(bert, out, capsys, f"--data={data}")
    (data / "label" / "dict.txt").write_text("yes\n")
    assert "not a dictionary of fairseq" in refused(bert, out, capsys, f"--data={data}")
    (data / "label" / "dict.txt").unlink()
    assert "label/dict.txt does not exist" in refused(bert, out, capsys, f"--data={data}")
    words = data / "input0" / "dict.txt"
    lines = words.read_text().splitlines()
    words.write_text("\n".join([*lines[1:], lines[0], ""]))
    shutil.copyfile(bert.data / "label" / "dict.txt", data / "label" / "dict.txt")
    said = refused(bert, out, capsys, f"--data={data}")
    assert f"trained with another dictionary than {words}" in said
    words.write_text("\n".join(["<mask> 1", *lines, ""]))
    assert "has a <mask>" in refused(bert, out, capsys, f"--data={data}")


def test_another_encoder_is_refused(
    trained: dict[str, Trained], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bert, roberta, out = trained["bert"], trained["roberta"], tmp_path / "out"
    other = Trained(bert.checkpoint, roberta.encoder, bert.data)
    assert "is not the tokenizer that the text" in refused(other, out, capsys)
    data = tmp_path / "data"
    shutil.copytree(bert.data, data, ignore=shutil.ignore_patterns("encoder"))
    said = refused(other, out, capsys, f"--data={data}")
    assert "lacks 27 of the 69 pieces" in said and "--encoder must be the folder" in said
    bart = tmp_path / "bart"
    bart.mkdir()
    make_folder(bart, "bart")
    capsys.readouterr()
    said = refused(Trained(bert.checkpoint, bart, bert.data), out, capsys)
    assert "model_type 'bart'" in said
    said = refused(Trained(bert.checkpoint, tmp_path / "absent", bert.data), out, capsys)
    assert "absent is no folder" in said
    said = refused(Trained(bert.checkpoint, bert.data / "encoder", bert.data), out, capsys)
    assert "config.json does not exist" in said


def test_the_original_folder_serves_as_the_encoder(
    trained: dict[str, Trained], tmp_path: Path
) -> None:
    """It holds the same tokenizer, which cuts and pads; the exported one does not."""
    one = trained["bert"]
    original = Trained(one.checkpoint, one.encoder.parent / "original", one.data)
    assert original.export(tmp_path / "a") == one.export(tmp_path / "b") == 0
    for path in (tmp_path / "b").iterdir():
        assert (tmp_path / "a" / path.name).read_bytes() == path.read_bytes()


def test_command_line_errors(
    trained: dict[str, Trained], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, out = trained["bert"], tmp_path / "out"
    checkpoint = str(one.checkpoint)
    for arguments, message in {
        (): "give either OUT or --huggingface",
        (str(out), f"--huggingface={out}"): "give either OUT or --huggingface",
        (str(out), "--encoder=x"): "--encoder and --data go with --huggingface",
        (f"--huggingface={out}",): "--huggingface needs --encoder FOLDER",
        (f"--huggingface={out}", "--encoder=x", "--drop-optimizer"): "keeps no optimizer",
    }.items():
        with pytest.raises(SystemExit):
            main([checkpoint, *arguments])
        assert message in capsys.readouterr().err
    assert one.export(out) == 0
    assert one.export(out) == 1
    assert "out exists; choose another" in capsys.readouterr().err
    (out / "more").touch()
    assert one.export(out, "--force") == 0
    assert not (out / "more").exists() and len((out / "config.json").read_text()) > 100
    # somebody else's model, and no model at all
    shutil.copytree(one.encoder.parent / "original", tmp_path / "mine")
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "mine", tmp_path / "empty"):
        assert one.export(folder, "--force") == 1
        assert "was not made by this command" in capsys.readouterr().err
    assert (tmp_path / "mine" / "model.safetensors").is_file()
    assert one.export(one.encoder, "--force") == 1
    assert "which would be replaced" in capsys.readouterr().err
    assert (one.encoder / "model.pt").is_file()


def test_a_bart_is_refused(
    trained: dict[str, Trained], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one that has a head for sentences."""
    one = trained["bert"]
    args = Namespace(arch="lr_drop_bart_base", task="sentence_prediction", data=str(one.data))
    args.num_classes, args.criterion = 3, "sentence_prediction"
    ARCH_CONFIG_REGISTRY[args.arch](args)
    assert args.arch in ARCH_MODEL_REGISTRY
    head = {f"classification_heads.{HEAD}.out_proj.weight": torch.ones(3, 4)}
    state = {"args": args, "model": head, "optimizer_history": [{}], "extra_state": {}}
    torch.save(state, tmp_path / "bart.pt")
    said = refused(Trained(tmp_path / "bart.pt", one.encoder, one.data), tmp_path / "out", capsys)
    assert "architecture lr_drop_bart_base: only fairseq's RoBERTa" in said
