"""Models in Hugging Face's layout become fairseq's, and compute what they computed."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.models.roberta import RobertaModel
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, processors

from lrdrop_fairseq.import_encoder.__main__ import main
from lrdrop_fairseq.import_encoder.check import TOLERANCE, differences, largest_difference, show
from lrdrop_fairseq.import_encoder.text import Encoder
from tests.toy_encoders import KINDS, LANGUAGES, TEXTS, make_folder, make_model, pieces

pytestmark = pytest.mark.slow

ENCODERS = ("bert", "roberta", "xlm-roberta")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each kind."""
    root = tmp_path_factory.mktemp("folders")
    return {kind: make_folder(root / kind, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def imported(folders: dict[str, Path]) -> dict[str, Path]:
    """What became of them."""
    outs = {kind: folder.with_name(f"{kind}-out") for kind, folder in folders.items()}
    for kind, out in outs.items():
        assert main([str(folders[kind]), str(out)]) == 0
    return outs


def load(out: Path, **overrides: Any) -> Any:
    overrides = {"data": str(out), **overrides}
    models, _, _ = checkpoint_utils.load_model_ensemble_and_task([str(out / "model.pt")], overrides)
    return models[0].eval()


def refused(folder: Path, out: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """What is said of a folder that cannot be imported; nothing is left of it."""
    assert main([str(folder), str(out), *flags]) == 1
    assert not list(out.parent.glob(f"{out.name}*")), "something was left"
    return capsys.readouterr().err


def changed(folder: Path, copy: Path, **config: Any) -> Path:
    """A copy of a folder with other entries in its config.json."""
    shutil.copytree(folder, copy)
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**settings, **config}))
    return copy


@pytest.mark.parametrize("kind", KINDS)
def test_states_of_every_layer_are_those_of_transformers(
    kind: str, folders: dict[str, Path], imported: dict[str, Path]
) -> None:
    found = differences(folders[kind], imported[kind], TEXTS)
    sides = {"encoder": 2} if kind in ENCODERS else {"encoder": 2, "decoder": 1}
    layers = [f"layer {n}" for n in (1, 2)]
    assert [name for name, _ in found] == [
        f"{side}, {place}"
        for side, count in sides.items()
        for place in ["embedding", *layers[:count]]
    ]
    assert max(value for _, value in found) < TOLERANCE


def test_positions_begin_after_that_of_the_configs_padding(tmp_path: Path) -> None:
    """4 and not 2, as the padding is called 3; no text has the piece of that number."""
    (tmp_path / "folder").mkdir()
    config = dict(pad_token_id=3, max_position_embeddings=34)
    folder = make_folder(tmp_path / "folder", "roberta", **config)
    assert main([str(folder), str(tmp_path / "out")]) == 0
    found = differences(folder, tmp_path / "out", ["the old dog sleeps here", "one cat"])
    assert max(value for _, value in found) < TOLERANCE
    assert load(tmp_path / "out").max_positions() == 30


@pytest.mark.parametrize(
    ("kind", "between", "expected"),
    [
        ("bert", None, "</s>"),
        ("roberta", None, "</s> </s>"),
        ("bert", ["[SEP]"] * 2, "</s> </s>"),
        ("roberta", ["</s>"], "</s>"),
        ("roberta", ["<s>"], "</s> </s>"),  # fairseq puts no such symbol there
    ],
)
def test_what_is_between_two_sentences_is_the_tokenizers(
    kind: str, between: list[str] | None, expected: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = changed(folders[kind], tmp_path / "folder")
    if between is not None:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A",
            pair=["$A", *between, "$B"],
            special_tokens=[(name, tokenizer.token_to_id(name)) for name in set(between)],
        )
        tokenizer.save(str(folder / "tokenizer.json"))
    assert main([str(folder), str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "import.json").read_text())["pairs"] == expected


def test_check_tells_a_model_that_is_another(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here the parameters were imported right, but the file is exchanged afterwards."""
    text, out = tmp_path / "text", tmp_path / "out"
    text.write_text("\n".join(TEXTS))
    assert main([str(folders["bert"]), str(out), "--check", str(text)]) == 0
    assert "the same, to 1e-05" in capsys.readouterr().out
    other = make_folder(tmp_path / "other", "bert", seed=2)
    found = differences(other, out, TEXTS)
    assert min(value for _, value in found) > 0.1
    assert "NOT the same" in show(found)
    assert "NOT the same" in show([("layer 1", 1e-8), ("layer 2", float("nan"))])
    states = torch.ones(2, 3, 4)
    damaged = states.clone()
    damaged[1, 0] = float("nan")
    real = torch.ones(2, 3, dtype=torch.bool)
    assert largest_difference(2 * states, states, real) == 1
    assert math.isnan(largest_difference(damaged, states, real))


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_over_the_vocabulary_are_those_of_transformers(
    kind: str, imported: dict[str, Path]
) -> None:
    """The head of the language model, too; padding and unequal lengths in the batch."""
    original, encoder = make_model(kind), Encoder(imported[kind])
    ours = load(imported[kind], arch=encoder.record["arch"])
    ids = {piece: number for number, piece in enumerate(pieces(kind))}
    texts = [[0, *indices] for indices in encoder.encode(TEXTS)]
    tokens = torch.full((len(texts), max(map(len, texts))), 1)
    for row, indices in zip(tokens, texts):
        row[: len(indices)] = torch.tensor(indices)
    # fairseq's dictionary and where its pieces are in the original
    symbols = [encoder.dictionary[i] for i in range(len(encoder.dictionary))]
    named = encoder.record["symbols"]
    if kind == "mbart":
        symbols = [*symbols[:-1], *LANGUAGES, "<mask>"]
    rows = torch.tensor([ids[named.get(symbol, symbol)] for symbol in symbols])
    mask = tokens.ne(1)
    inputs = dict(input_ids=rows[tokens], attention_mask=mask.long())
    with torch.no_grad():
        if kind in ENCODERS:
            actual, _ = ours(tokens)
        else:
            actual, _ = ours(tokens, mask.sum(dim=1), tokens)
            inputs |= dict(decoder_input_ids=rows[tokens])
        expected = original(**inputs).logits[:, :, rows]
    torch.testing.assert_close(actual[mask], expected[mask], rtol=1e-4, atol=1e-4)


def test_plain_fairseq_loads_it(imported: dict[str, Path], tmp_path: Path) -> None:
    """In a process without the plugin, and with nothing added to torch's safe classes."""
    code = (
        "import sys, torch; from fairseq.models.roberta import RobertaModel\n"
        "state = torch.load(sys.argv[1] + '/model.pt', weights_only=True)\n"
        "model = RobertaModel.from_pretrained(sys.argv[1], bpe=None)\n"
        "tokens = torch.tensor([[0, 9, 10, 2]])\n"
        "torch.save(model.eval().extract_features(tokens), sys.argv[2])\n"
    )
    out = tmp_path / "features.pt"
    command = [sys.executable, "-c", code, str(imported["roberta"]), str(out)]
    subprocess.run(command, check=True, cwd=tmp_path)
    ours = load(imported["roberta"], arch="lr_drop_roberta")
    with torch.no_grad():
        expected = ours(torch.tensor([[0, 9, 10, 2]]), features_only=True)[0]
    torch.testing.assert_close(torch.load(out), expected)


def test_the_model_carries_its_epsilon(imported: dict[str, Path]) -> None:
    """BERT's is 1e-12 here, and fairseq's own 1e-5 in a plain model."""
    ours = load(imported["bert"], arch="lr_drop_roberta")
    norms = [m for m in ours.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert {norm.eps for norm in norms} == {1e-12} and len(norms) == 2 * 2 + 2
    plain = load(imported["bert"])
    assert type(plain) is RobertaModel
    assert {m.eps for m in plain.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-5}


def test_sizes_dropout_and_activation_are_the_configs(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model", "bert", hidden_act="gelu_new", classifier_dropout=0.3)
    assert main([str(folder), str(tmp_path / "out")]) == 0
    flags = Encoder(tmp_path / "out").record["flags"]
    given = dict(zip(flags[::2], flags[1::2]))
    assert given == {
        "--encoder-layers": "2", "--encoder-embed-dim": "16", "--encoder-ffn-embed-dim": "24",
        "--encoder-attention-heads": "2", "--max-positions": "30", "--dropout": "0.1",
        "--activation-fn": "gelu_accurate", "--pooler-activation-fn": "tanh",
        "--attention-dropout": "0.2", "--activation-dropout": "0.0", "--pooler-dropout": "0.3",
        "--layer-norm-epsilon": "1e-12",
    }  # fmt: skip
    assert max(value for _, value in differences(folder, tmp_path / "out", TEXTS)) < TOLERANCE


def test_text_goes_through_the_models_own_tokenizer(imported: dict[str, Path]) -> None:
    """``zebra`` is in pieces; nothing is cut or padded, as tokenizer.json would have it."""
    encoder = Encoder(imported["bert"])
    (indices,) = encoder.encode(["quick red zebra waits !"])
    symbols = [encoder.dictionary[index] for index in indices]
    assert symbols == ["quick", "red", "z", "##e", "##b", "##r", "##a", "waits", "<unk>", "</s>"]


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("parts", [1, 3])
def test_every_format_of_weights(
    file: str, parts: int, folders: dict[str, Path], imported: dict[str, Path], tmp_path: Path
) -> None:
    weights = load_file(folders["bert"] / "model.safetensors")
    folder = tmp_path / "model"
    shutil.copytree(folders["bert"], folder, ignore=shutil.ignore_patterns("model.*"))
    stem, suffix = file.rsplit(".", 1)
    names = sorted(weights)
    places = {name: f"{stem}-{i % parts + 1:05}.{suffix}" for i, name in enumerate(names)}
    if parts == 1:
        places = dict.fromkeys(names, file)
    else:
        index = {"metadata": {}, "weight_map": places}
        (folder / f"{file}.index.json").write_text(json.dumps(index))
    for place in set(places.values()):
        part = {name: weights[name].contiguous() for name in names if places[name] == place}
        path = folder / place
        torch.save(part, path) if suffix == "bin" else save_file(part, path)
    assert main([str(folder), str(tmp_path / "out")]) == 0
    expected = torch.load(imported["bert"] / "model.pt")["model"]
    actual = torch.load(tmp_path / "out" / "model.pt")["model"]
    assert expected.keys() == actual.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_pieces_of_texts_keep_the_model_exact_on_them(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    text = tmp_path / "text.tsv"
    text.write_text("1\tthe old dog sleeps\r\n0\tone zebra\thouse here\n", encoding="utf-8")
    out = tmp_path / "out"
    assert main([str(folders["bert"]), str(out), "--pieces-of", str(text)]) == 0
    encoder = Encoder(out)
    words = "the one old dog house sleeps here z ##e ##b ##r ##a".split()
    assert set(encoder.dictionary.symbols) == {"<s>", "<pad>", "</s>", "<unk>", "<mask>", *words}
    assert encoder.dictionary.symbols[4:6] == ["the", "one"]  # in the order of before
    assert len(torch.load(out / "model.pt")["model"]["encoder.lm_head.bias"]) == 17
    found = differences(folders["bert"], out, ["the old dog sleeps", "one zebra", "house here"])
    assert max(value for _, value in found) < TOLERANCE
    (indices,) = encoder.encode(["the cat"])
    assert [encoder.dictionary[i] for i in indices] == ["the", "<unk>", "</s>"]


def test_a_folder_without_a_head_gets_a_new_one(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what it has beside the encoder is named."""
    folder = tmp_path / "model"
    shutil.copytree(folders["bert"], folder)
    weights = load_file(folder / "model.safetensors")
    kept = {k.removeprefix("bert."): v for k, v in weights.items() if k.startswith("bert.")}
    kept |= {"pooler.dense.weight": torch.ones(16, 16), "pooler.dense.bias": torch.ones(16)}
    kept |= {"embeddings.position_ids": torch.arange(30)}
    save_file(kept, folder / "model.safetensors")
    assert main([str(folder), str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "a new one, unused here" in said and "left out: the pooler" in said
    assert "segment" in said
    assert max(value for _, value in differences(folder, tmp_path / "out", TEXTS)) < TOLERANCE
    # Once more, it is the same file: a fine-tuning of it goes on.
    assert main([str(folder), str(tmp_path / "again")]) == 0
    first, again = ((tmp_path / name / "model.pt").read_bytes() for name in ("out", "again"))
    assert first == again


def test_mbarts_languages_are_the_tasks_to_append(imported: dict[str, Path]) -> None:
    words = (imported["mbart"] / "dict.txt").read_text(encoding="utf-8")
    assert "en_XX" not in words and "<mask>" not in words
    assert json.loads((imported["mbart"] / "import.json").read_text())["languages"] == LANGUAGES
    assert json.loads((imported["mbart"] / "import.json").read_text())["arch"] == (
        "lr_drop_mbart_large"
    )


def test_half_precision_becomes_float32(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["roberta"], folder)
    weights = load_file(folder / "model.safetensors")
    save_file({name: value.half() for name, value in weights.items()}, folder / "model.safetensors")
    assert main([str(folder), str(tmp_path / "out")]) == 0
    state = torch.load(tmp_path / "out" / "model.pt")["model"]
    assert {value.dtype for value in state.values()} == {torch.float32}
    assert max(value for _, value in differences(folder, tmp_path / "out", TEXTS)) < TOLERANCE


@pytest.mark.parametrize(
    "kind, config, reason",
    [
        ("bert", {"model_type": "deberta-v2"}, "model_type 'deberta-v2' cannot be imported"),
        ("bert", {"position_embedding_type": "relative_key"}, "absolute positions only"),
        ("bert", {"is_decoder": True}, "is_decoder"),
        ("bert", {"hidden_act": "mish"}, "hidden_act 'mish'"),
        ("bert", {"hidden_size": None}, "config.json has hidden_size None"),
        ("bert", {"num_hidden_layers": 3}, "not of one model"),
        ("bert", {"num_hidden_layers": 1}, "not of one model"),
        ("bert", {"vocab_size": 20}, "tokenizer and weights are not of one model"),
        ("bart", {"tie_word_embeddings": False}, "shares its embeddings"),
        # A BART may lack the row of <mask>, its last piece; an encoder may not.
        ("roberta", {"vocab_size": 46}, "tokenizer and weights are not of one model"),
        ("bert", {"vocab_size": None}, "config.json has vocab_size None"),
        ("bert", {"vocab_size": 80}, "embeddings.word_embeddings.weight is (74, 16), but"),
        ("bert", {"hidden_size": 18}, "embeddings.word_embeddings.weight is (74, 16), but"),
        ("bert", {"max_position_embeddings": 31}, "position_embeddings.weight is (30, 16), but"),
        ("bert", {"num_attention_heads": 3}, "fairseq cannot build such a model"),
        ("bart", {"vocab_size": 80}, "the embedding is (47, 16), but config.json says (80, 16)"),
    ],
)
def test_what_fairseq_cannot_express_is_refused(
    kind: str, config: dict[str, Any], reason: str, folders: dict[str, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = changed(folders[kind], tmp_path / "model", **config)
    said = refused(folder, tmp_path / "out", capsys)
    assert reason in said and str(folder) in said


def test_damaged_folders_are_refused(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert "does not exist" in refused(tmp_path / "absent", out, capsys)
    (tmp_path / "file").touch()
    assert "is no folder" in refused(tmp_path / "file", out, capsys)

    def damaged(name: str) -> Path:
        shutil.copytree(folders["bert"], tmp_path / name)
        return tmp_path / name

    folder = damaged("no-weights")
    (folder / "model.safetensors").unlink()
    assert "holds no weights" in refused(folder, out, capsys)
    folder = damaged("cut")
    (folder / "model.safetensors").write_bytes(b"\x10\x00")
    assert "model.safetensors: cannot be read as weights" in refused(folder, out, capsys)
    folder = damaged("no-config")
    (folder / "config.json").unlink()
    assert "config.json does not exist" in refused(folder, out, capsys)
    folder = damaged("bad-config")
    (folder / "config.json").write_text("{")
    assert "not valid JSON" in refused(folder, out, capsys)
    folder = damaged("lost-part")
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"bert.a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "a part is lost" in refused(folder, out, capsys)
    folder = damaged("nan")
    weights = load_file(folder / "model.safetensors")
    weights["bert.encoder.layer.0.output.dense.bias"][3] = float("nan")
    save_file(weights, folder / "model.safetensors")
    assert "NaN or infinity in what is encoder.sentence_encoder.layers.0.fc2.bias" in refused(
        folder, out, capsys
    )
    folder = damaged("no-tokenizer")
    (folder / "tokenizer.json").unlink()
    assert "no-tokenizer holds no tokenizer" in refused(folder, out, capsys)
    folder = damaged("more")
    weights = load_file(folder / "model.safetensors")
    weights["bert.encoder.layer.0.adapter.weight"] = torch.ones(2)
    save_file(weights, folder / "model.safetensors")
    assert "encoder.layer.0.adapter.weight, for which fairseq" in refused(folder, out, capsys)


def test_names_that_only_old_files_have(
    folders: dict[str, Path], imported: dict[str, Path], tmp_path: Path
) -> None:
    """The first BERTs' layer norms have gamma and beta, the first BARTs a version."""

    def renamed(kind: str, change: Any) -> dict[str, torch.Tensor]:
        folder = tmp_path / kind
        shutil.copytree(folders[kind], folder)
        weights = load_file(folder / "model.safetensors")
        save_file(change(weights), folder / "model.safetensors")
        assert main([str(folder), str(tmp_path / f"{kind}-out")]) == 0
        return torch.load(tmp_path / f"{kind}-out" / "model.pt")["model"]

    def old_bert(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        parts = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        for new, old in parts.items():
            weights = {name.replace(new, old): value for name, value in weights.items()}
        assert sum(name.endswith("gamma") for name in weights) == 2 * 2 + 2
        return weights

    def old_bart(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**weights, "encoder.version": torch.ones(1), "decoder.version": torch.ones(1)}

    for kind, change in {"bert": old_bert, "bart": old_bart}.items():
        actual, expected = renamed(kind, change), torch.load(imported[kind] / "model.pt")["model"]
        assert actual.keys() == expected.keys()
        assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_a_bart_that_has_lost_the_row_of_mask(
    folders: dict[str, Path], imported: dict[str, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """As the published one of CNN/DailyMail."""
    folder = changed(folders["bart"], tmp_path / "model", vocab_size=46)
    weights = load_file(folder / "model.safetensors")
    shared = {n: v for n, v in weights.items() if v.shape == (47, 16)}
    assert shared
    weights |= {name: value[:-1].contiguous() for name, value in shared.items()}
    weights["final_logits_bias"] = torch.zeros(1, 46)
    save_file(weights, folder / "model.safetensors")
    out = tmp_path / "out"
    assert main([str(folder), str(out)]) == 0
    assert "no embedding of <mask>" in capsys.readouterr().out
    state = torch.load(out / "model.pt")["model"]
    expected = torch.load(imported["bart"] / "model.pt")["model"]["encoder.embed_tokens.weight"]
    assert torch.equal(state["encoder.embed_tokens.weight"][:-1], expected[:-1])
    assert not state["encoder.embed_tokens.weight"][-1].any()
    assert max(value for _, value in differences(folder, out, TEXTS)) < TOLERANCE


def test_what_is_read_is_never_replaced(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([str(folders["bert"]), str(out)]) == 0
    shutil.copytree(folders["bert"], out / "original")
    assert main([str(out / "original"), str(out), "--force"]) == 1
    assert "which would be replaced" in capsys.readouterr().err
    assert (out / "original" / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["text.jsonl", "text.csv", "absent.txt"])
def test_texts_that_are_not_lines_of_text_are_refused(
    name: str, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pieces of JSON's or CSV's lines would not be those of their texts."""
    if not name.startswith("absent"):
        (tmp_path / name).write_text("text\n")
    said = refused(folders["bert"], tmp_path / "out", capsys, "--pieces-of", str(tmp_path / name))
    assert ("lines of text are read" if "text." in name else "does not exist") in said


class Harmful:
    """Unpickled, it would run a command."""

    def __reduce__(self) -> Any:
        return (print, ("unpickled",))


def test_a_pickle_that_runs_code_is_refused(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["bert"], folder, ignore=shutil.ignore_patterns("model.*"))
    torch.save({"a": Harmful()}, folder / "pytorch_model.bin")
    assert "cannot be read as weights" in refused(folder, tmp_path / "out", capsys)


def test_out_is_replaced_with_force_alone(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([str(folders["bert"]), str(out)]) == 0
    assert main([str(folders["bert"]), str(out)]) == 1
    assert "--force" in capsys.readouterr().err
    assert main([str(folders["roberta"]), str(out), "--force"]) == 0
    assert Encoder(out).record["model_type"] == "roberta"
    (tmp_path / "mine").mkdir()
    assert main([str(folders["bert"]), str(tmp_path / "mine"), "--force"]) == 1
    assert "was not made by this command" in capsys.readouterr().err
    said = refused(folders["bart"], tmp_path / "new", capsys, "--pieces-of", str(out / "dict.txt"))
    assert "is for encoders" in said
