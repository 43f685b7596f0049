"""``from_pretrained``: raw text in and out, with the plugin and, exported, without it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from fairseq.models.roberta import RobertaModel
from fairseq.models.transformer import TransformerModel
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from sacremoses import MosesTokenizer
from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe

from lrdrop_fairseq.models.roberta import LRDropRoberta
from lrdrop_fairseq.models.transformer import LRDropTransformer
from tests import toy_run as toy
from tests.models.test_pretrained import SIZES, flags
from tests.models.test_pretrained import make_trainer as make_any_trainer
from tests.toy import make_trainer
from tests.toy_sentences import HEAD, make_sentence_task, make_sentences, write_sentences


@pytest.fixture
def expected(generated: dict[int, tuple[float, str]]) -> list[str]:
    """What fairseq-generate makes of the test set, its sentencepiece pieces joined to text."""
    pieces = [generated[number][1] for number in range(20)]
    return [line.replace(" ", "").replace("\u2581", " ").strip() for line in pieces]


def test_raw_text_in_raw_text_out(toy_run: toy.ToyRun, expected: list[str]) -> None:
    model = toy.from_pretrained(toy_run)
    assert isinstance(model.models[0], LRDropTransformer)
    sentences = toy.lines(toy_run.texts / "test.de")
    assert model.translate(sentences) == expected
    assert model.translate(sentences[0]) == expected[0], "a single string gives a single string"


def test_interactive_translates_and_validate_finds_the_loss_of_the_training(
    toy_run: toy.ToyRun, expected: list[str]
) -> None:
    """fairseq's other two commands of a trained model, with the plugin."""
    data = (toy_run.data, "--path", toy_run.checkpoint, "--user-dir", toy.PLUGIN, "--cpu")
    output = toy.with_plugin(
        "fairseq_cli.interactive", *data, "--beam=5", "--bpe=sentencepiece",
        f"--sentencepiece-model={toy_run.data}/sentencepiece.model",
        f"--input={toy_run.texts}/test.de", "--source-lang=de", "--target-lang=en",
    )  # fmt: skip
    lines = [line.split("\t") for line in output.splitlines() if line.startswith("D-")]
    assert [text.strip() for _, _, text in lines] == expected

    output = toy.with_plugin("fairseq_cli.validate", *data, "--max-tokens=400")
    (loss,) = re.findall(r"valid on 'valid' subset .*?\| loss ([\d.]+)", output)
    state = torch.load(toy_run.checkpoint, weights_only=False)
    assert float(loss) == pytest.approx(state["extra_state"]["val_loss"], abs=6e-4)


_FIVE_LINES = """
import json, sys
from fairseq.models.transformer import TransformerModel
save_dir, checkpoint, data, source = sys.argv[1:]
model = TransformerModel.from_pretrained(
    save_dir, checkpoint_file=checkpoint, data_name_or_path=data,
    bpe="sentencepiece", sentencepiece_model=data + "/sentencepiece.model")
assert type(model.models[0]) is TransformerModel
print("translations", json.dumps(model.translate(open(source).read().splitlines())))
"""


def test_exported_without_the_plugin(
    toy_run: toy.ToyRun, expected: list[str], tmp_path: Path
) -> None:
    exported = toy.export(toy_run.checkpoint, tmp_path / "exported.pt", drop_optimizer=True)
    (tmp_path / "five_lines.py").write_text(_FIVE_LINES)
    output = toy.without_plugin(
        tmp_path / "five_lines.py", tmp_path, exported.name, toy_run.data,
        toy_run.texts / "test.de",
    )  # fmt: skip
    found = next(line for line in output.splitlines() if line.startswith("translations "))
    assert json.loads(found.partition(" ")[2]) == expected


def test_moses_and_bpe(toy_run: toy.ToyRun, tmp_path: Path) -> None:
    """Tokenized data: raw text becomes the tokens of the data set, and these raw text again."""
    codes = tokenize(toy_run.texts, tmp_path)
    toy.prepare(tmp_path, tmp_path / "data", "--pretokenized")
    task = TranslationTask.setup_task(TranslationConfig(data=str(tmp_path / "data")))
    trainer = make_trainer(task=task)
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pt"), {"train_iterator": {"epoch": 1}})
    model = TransformerModel.from_pretrained(
        str(tmp_path),
        checkpoint_file="checkpoint.pt",
        data_name_or_path=str(tmp_path / "data"),
        tokenizer="moses",
        source_lang="de",
        target_lang="en",
        bpe="subword_nmt",
        bpe_codes=str(codes),
    )
    tokens = (tmp_path / "test.de").read_text()
    assert "@@ " in tokens and " ," in tokens
    model.task.load_dataset("test")
    raw = {language: toy.lines(toy_run.texts / f"test.{language}") for language in ("de", "en")}
    for number, pair in enumerate(model.task.dataset("test")):
        assert torch.equal(model.encode(raw["de"][number]), pair["source"])
        assert model.decode(pair["target"]) == raw["en"][number]
    assert isinstance(model.translate(raw["de"][0], max_len_b=10), str)


def test_prediction_of_sentences(tmp_path: Path) -> None:
    """RoBERTa's interface, head and labels included: with the plugin, and exported."""
    data = write_sentences(tmp_path / "data", [4, 5, 6])
    trainer = make_any_trainer(
        make_sentence_task(), "--task=sentence_prediction", "--num-classes=3", "--max-positions=62",
        "--arch=lr_drop_roberta_base", "--criterion=lr_drop_sentence_prediction", *flags(SIZES),
    )  # fmt: skip
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(str(tmp_path / "trained.pt"), {"train_iterator": {"epoch": 1}})
    toy.export(tmp_path / "trained.pt", tmp_path / "exported.pt", drop_optimizer=True)
    tokens = make_sentences()["net_input"]["src_tokens"]
    model = trainer.model.eval()
    expected = model(tokens, classification_head_name=HEAD)[0].log_softmax(dim=-1)
    for name, cls in {"trained.pt": LRDropRoberta, "exported.pt": RobertaModel}.items():
        loaded = RobertaModel.from_pretrained(
            str(tmp_path), checkpoint_file=name, data_name_or_path=str(data), bpe=None
        ).eval()
        assert type(loaded.model) is cls
        torch.testing.assert_close(loaded.predict(HEAD, tokens), expected)


def tokenize(texts: Path, folder: Path) -> Path:
    """Tokenize the texts and split them into subword units; the file of the codes."""
    tokenized: dict[str, list[str]] = {}
    for split in ("train", "valid", "test"):
        for language in ("de", "en"):
            name, tokenizer = f"{split}.{language}", MosesTokenizer(language)
            tokenized[name] = [
                tokenizer.tokenize(line, return_str=True, aggressive_dash_splits=True)
                for line in toy.lines(texts / name)
            ]
    train = [f"{line}\n" for line in tokenized["train.de"] + tokenized["train.en"]]
    with open(folder / "codes", "w") as out:
        learn_bpe(train, out, 30)
    with open(folder / "codes") as codes:
        bpe = BPE(codes)
    for name, sentences in tokenized.items():
        (folder / name).write_text("".join(f"{bpe.process_line(line)}\n" for line in sentences))
    return folder / "codes"
