"""The scripts of examples/language_model on a corpus of the demo: text, training, perplexity."""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDataset

import lrdrop_fairseq  # noqa: F401  today's torch needs its repairs to load a checkpoint
from examples.language_model.evaluate_perplexity import scores
from examples.translation.demo.generate_corpus import main as generate
from tests.toy_run import export

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "language_model"
ENVIRONMENT = {
    "VIRTUAL_ENV": "/",
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
    "CUDA_VISIBLE_DEVICES": "",
}
TINY = (
    "--cpu --num-workers 0 --decoder-layers 2 --decoder-embed-dim 32 --decoder-input-dim 32 "
    "--decoder-output-dim 32 --decoder-ffn-embed-dim 64 --decoder-attention-heads 4 "
    "--max-update 12 --warmup-updates 4 --max-tokens 1024 --log-format json --log-interval 1"
).split()


def run(script: str, *arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    command = [str(EXAMPLE / script), *map(str, arguments)]
    environment = {**ENVIRONMENT, **more}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def done(script: str, *arguments: object, **more: str) -> str:
    """What a script prints, which must not fail."""
    result = run(script, *arguments, **more)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
    return result.stdout


def error(script: str, *arguments: object, status: int = 1) -> str:
    """The line that says what is wrong."""
    result = run(script, *arguments)
    assert result.returncode == status, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    (line,) = (line for line in result.stderr.splitlines() if "error: " in line)
    return line


class Folders(NamedTuple):
    """Texts; data of pieces and of words; a training on the pieces, its last checkpoint."""

    texts: Path
    pieces: Path
    words: Path
    trained: Path


def texts_of(folder: Path) -> dict[str, Path]:
    return {name: folder / f"{name}.en" for name in ("train", "valid", "test")}


def prepare(texts: dict[str, Path], output: Path, *more: object, test: str = "") -> str:
    paths = {**texts, "test": test or texts["test"]}
    flags = [part for name, path in paths.items() for part in (f"--{name}", path)]
    return done("prepare.sh", *flags, "--output", output, "--workers", 1, *more)


def train(data: Path, save_dir: Path, *more: object, preset: str = "small") -> str:
    method = "lrdrop"
    flags = [] if "--" in more else ["--", *TINY]
    if "--method" in more:
        method, more = str(more[1]), more[2:]
    return done(
        "train.sh", data, "--method", method, "--preset", preset, "--save-dir", save_dir,
        *flags, *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    outer = tmp_path_factory.mktemp("language model")
    folder = outer / "with, a comma"
    arguments = sys.argv
    sys.argv = ["", f"--output={outer}/texts", "--train=600", "--valid=40", "--test=40"]
    try:
        generate()
    finally:
        sys.argv = arguments
    # As paragraphs: an empty line after each third one.
    for path in texts_of(outer / "texts").values():
        lines = path.read_text().splitlines()
        path.write_text("".join(f"{x}\n" + "\n" * (i % 3 == 2) for i, x in enumerate(lines)))
    texts = texts_of(outer / "texts")
    prepare(texts, folder / "pieces", "--vocab-size", 300)
    prepare(texts, folder / "words", "--words", "--min-count", 2)
    train(folder / "pieces", folder / "run", "--", *TINY, "--save-interval-updates", 6)
    return Folders(outer / "texts", folder / "pieces", folder / "words", folder / "run")


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def tokens(data: Path, subset: str) -> list[list[str]]:
    dictionary = Dictionary.load(str(data / "dict.txt"))
    dataset = MMapIndexedDataset(str(data / subset))
    return [[dictionary[i] for i in dataset[n].tolist()] for n in range(len(dataset))]


def record(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


# --- prepare.sh ------------------------------------------------------------------------------


def test_the_data_are_the_text(folders: Folders) -> None:
    """Every line, the empty ones too; pieces put together are the words."""
    for subset in ("train", "valid", "test"):
        text = lines(folders.texts / f"{subset}.en")
        assert "" in text
        pieces = tokens(folders.pieces, subset)
        assert ["".join(p[:-1]).replace("▁", " ").strip() for p in pieces] == text
        assert all(p[-1] == "</s>" for p in pieces)
        counts = record(folders.pieces / "prepare.json")["subsets"][subset]
        assert counts == {
            "file": f"{subset}.en", "lines": len(text), "empty": text.count(""),
            "words": sum(len(line.split()) for line in text),
            "tokens": sum(map(len, pieces)), "unknown": 0,
        }  # fmt: skip


def test_rare_words_are_unknown(folders: Folders) -> None:
    text = " ".join(lines(folders.texts / "train.en")).split()
    frequent = {word for word in set(text) if text.count(word) >= 2}
    assert frequent and len(frequent) < len(set(text))
    for line, known in zip(lines(folders.texts / "test.en"), tokens(folders.words, "test")):
        expected = [word if word in frequent else "<unk>" for word in line.split()]
        assert known == [*expected, "</s>"]
    subset = record(folders.words / "prepare.json")["subsets"]["train"]
    assert subset["unknown"] == sum(word not in frequent for word in text)
    assert subset["tokens"] == subset["words"] + subset["lines"]


def test_gzipped_text_several_tests_and_a_repeat(folders: Folders, tmp_path: Path) -> None:
    texts = {}
    for name, path in texts_of(folders.texts).items():
        texts[name] = tmp_path / f"{name}.gz"
        texts[name].write_bytes(gzip.compress(path.read_bytes()))
    output = tmp_path / "data"
    both = f"{texts['test']},{folders.texts / 'valid.en'}"
    printed = prepare(texts, output, "--vocab-size", 300, test=both)
    assert re.search(r"test1 +valid.en", printed)
    for name in ("train.bin", "test.bin", "dict.txt"):
        assert (output / name).read_bytes() == (folders.pieces / name).read_bytes()
    assert (output / "test1.bin").read_bytes() == (folders.pieces / "valid.bin").read_bytes()
    flags = [f"--{k}={v}" for k, v in texts.items()]
    flags = [part for flag in flags for part in flag.split("=")]
    assert "exists; choose another --output" in error("prepare.sh", *flags, "--output", output)
    before = record(output / "prepare.json")
    done("prepare.sh", *flags, "--output", output, "--vocab-size", 200, "--force")
    assert record(output / "prepare.json")["dictionary_size"] < before["dictionary_size"]
    assert not [path for path in tmp_path.iterdir() if "prepare-" in path.name]


def test_the_vocabulary_of_other_data(folders: Folders, tmp_path: Path) -> None:
    """A model of those data has the same probability for the same text among new data."""
    texts = {"train": folders.texts / "valid.en", "valid": folders.texts / "test.en"}
    texts["test"] = tmp_path / "new.en"
    texts["test"].write_text((folders.texts / "test.en").read_text() + "Ω\n")
    for name in ("pieces", "words"):
        data, new = getattr(folders, name), tmp_path / name
        prepare(texts, new, "--vocabulary-of", data)
        assert (new / "dict.txt").read_bytes() == (data / "dict.txt").read_bytes()
        assert tokens(new, "train") == tokens(data, "valid")
        assert tokens(new, "test")[:-1] == tokens(data, "test")
        before, after = (record(folder / "prepare.json") for folder in (data, new))
        assert after["vocabulary_of"] == name and after["unit"] == before["unit"]
        unknown = [prepared["subsets"]["test"]["unknown"] for prepared in (before, after)]
        assert unknown[1] == unknown[0] + 1
    checkpoint = folders.trained / "checkpoint_last.pt"
    scored = [("test", folders.pieces), ("valid", tmp_path / "pieces")]
    for subset, data in scored:
        done("evaluate.sh", data, "--checkpoint", checkpoint, "--subset", subset,
             "--output", tmp_path / "scores")  # fmt: skip
    found = [record(tmp_path / "scores" / f"scores.{subset}.json") for subset, _ in scored]
    assert found[0]["scores"] == found[1]["scores"]


def test_a_vocabulary_that_is_none_is_refused(folders: Folders, tmp_path: Path) -> None:
    texts = texts_of(folders.texts)
    flags = [part for name, path in texts.items() for part in (f"--{name}", path)]
    flags += ["--output", tmp_path / "new", "--vocabulary-of"]
    assert "make the data directory with" in error("prepare.sh", *flags, tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(folders.pieces, copy)
    (copy / "sentencepiece.model").unlink()
    assert "sentencepiece.model does not exist" in error("prepare.sh", *flags, copy)
    with (copy / "dict.txt").open("a") as file:
        file.write("more 1\n")
    assert "is not the dictionary that" in error("prepare.sh", *flags, copy)
    assert not (tmp_path / "new").exists()
    assert "do not go with --vocabulary-of" in error(
        "prepare.sh", *flags, copy, "--words", status=2
    )


def test_bad_text_is_refused(folders: Folders, tmp_path: Path) -> None:
    texts = texts_of(folders.texts)
    bad = tmp_path / "bad.txt"

    def refused(content: bytes, *more: object, train: Path = bad) -> str:
        bad.write_bytes(content)
        line = error(
            "prepare.sh", "--train", train, "--valid", texts["valid"], "--test", texts["test"],
            "--output", tmp_path / "data", *more,
        )  # fmt: skip
        assert not (tmp_path / "data").exists()
        return line

    assert "bad.txt has no words" in refused(b"")
    assert "bad.txt has no words" in refused(b"\n \n", "--words")
    assert "bad.txt, line 2: byte 0xff in column 3 is not valid UTF-8" in refused(b"a\nb \xff\n")
    assert "the token </s> would be a control symbol" in refused(b"a\nb </s>\n", "--words")
    assert "is gzip data: give it a name" in refused(gzip.compress(b"a\n"))
    assert "none.txt does not exist" in refused(b"a\n", train=tmp_path / "none.txt")
    assert "--vocab-size 5000 is too large" in refused(b"a b c d\n" * 9, "--vocab-size", 5000)


def test_wrong_arguments_of_prepare(folders: Folders) -> None:
    texts = texts_of(folders.texts)
    flags = [part for name, path in texts.items() for part in (f"--{name}", path)]
    for arguments, message in (
        ([], "--train is missing"),
        ([*flags], "--output is missing"),
        ([*flags, "--output", "d", "--words", "--vocab-size", 9], "--vocab-size has no effect"),
        ([*flags, "--output", "d", "--min-count", 2], "--min-count goes with --words"),
        ([*flags, "--output", "d", "--vocab-size", 0], "--vocab-size must be a whole number"),
        ([*flags, "--output", "a:b"], "takes ':' for a separator"),
        ([*flags[:5], "a,,b", "--output", "d"], "--test has an empty name"),
    ):
        if arguments:
            assert message in error("prepare.sh", *arguments, status=2)
    assert "Usage:" in run("prepare.sh").stderr and "Usage:" in done("prepare.sh", "--help")


# --- train.sh --------------------------------------------------------------------------------


def logged(output: str) -> list[dict[str, str]]:
    found = [line[line.index("{") :] for line in output.splitlines() if '"gnorm"' in line]
    return [json.loads(line) for line in found if '"train_loss"' not in line]


def test_the_terms_begin_in_the_last_third(folders: Folders) -> None:
    updates = logged((folders.trained / "train.log").read_text())
    # 0.67 of 12 updates.
    assert ["hidden_loss" in line for line in updates[7:9]] == [False, True]
    assert float(updates[-1]["attention_loss"]) > 0
    trained = record(folders.trained / "train.json")
    assert (trained["method"], trained["preset"], trained["seed"]) == ("lrdrop", "small", 1)


def test_it_goes_on_and_ends_and_is_one_training(folders: Folders, tmp_path: Path) -> None:
    half = [*TINY[: TINY.index("--max-update")], *TINY[TINY.index("--max-update") + 2 :]]
    flags = ("--", *half, "--max-update")
    train(folders.pieces, tmp_path, "--method", "rdrop", *flags, 3)
    output = train(folders.pieces, tmp_path, "--method", "rdrop", *flags, 5)
    assert "@ 3 updates" in output and "output_loss" in output and "hidden_loss" not in output
    assert "nothing to train" in train(folders.pieces, tmp_path, "--method", "rdrop", *flags, 5)
    other = error(
        "train.sh", folders.pieces, "--method", "plain", "--preset", "small",
        "--save-dir", tmp_path,
    )  # fmt: skip
    assert "something else was trained in this folder (method 'rdrop' there" in other


def test_the_published_adaptive_setting_trains(folders: Folders, tmp_path: Path) -> None:
    """With bands of words and sizes that fit the corpus; then its perplexity."""
    bands = "--adaptive-softmax-cutoff 50,150 --adaptive-input-cutoff 50,150".split()
    sizes = [*TINY, "--tokens-per-sample", 96, "--update-freq", 1, "--lr", 0.5]
    sizes[sizes.index("--warmup-updates") + 1] = 4
    output = train(
        folders.words, tmp_path, "--method", "lrdrop", "--", *sizes, *bands,
        "--lr-drop-start", 0, preset="wiki103",
    )  # fmt: skip
    last = logged(output)[-1]
    assert "output_loss" in last and "hidden_loss" in last
    printed = done(
        "evaluate.sh", folders.words, "--checkpoint", tmp_path / "checkpoint_last.pt",
        "--context-window", 40,
    )  # fmt: skip
    (found,) = re.findall(r"perplexity per word +([\d.]+)", printed)
    assert 1 < float(found) < 2000


def test_wrong_arguments_of_train(folders: Folders, tmp_path: Path) -> None:
    right = [folders.pieces, "--method", "plain", "--preset", "small", "--save-dir", tmp_path]
    assert "one data directory only" in error("train.sh", *right, "other", status=2)
    assert "--method is plain" in error("train.sh", *right, "--method", "x", status=2)
    assert "--preset is small" in error("train.sh", *right, "--preset", "x", status=2)
    assert "give --seed before --" in error("train.sh", *right, "--", "--seed", 1, status=2)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "make the data directory with" in error("train.sh", empty, *right[1:])
    (empty / "prepare.json").write_text('{"source_lang": "de", "target_lang": "en"}')
    assert "holds no data for language models" in error("train.sh", empty, *right[1:])


# --- evaluate.sh -----------------------------------------------------------------------------


def test_probability_is_shared_among_pieces_and_words_by_hand() -> None:
    """Of a text of 12 bits: 3 bits for each of 4 pieces (8), 4 for each of 3 words (16)."""
    found = scores(12.0, 4, "piece", 3)
    assert [(s["unit"], s["count"], s["bits"], s["perplexity"]) for s in found] == [
        ("piece", 4, 3.0, 8.0),
        ("word", 3, 4.0, 16.0),
    ]
    assert [s["perplexity"] for s in scores(12.0, 3, "word", 3)] == [16.0]


def test_the_numbers_are_those_of_fairseq_eval_lm(folders: Folders, tmp_path: Path) -> None:
    """With the exported model, in a process without the plugin; and the words of the text."""
    window = 100
    checkpoint = folders.trained / "checkpoint_last.pt"
    printed = done(
        "evaluate.sh", folders.pieces, "--checkpoint", checkpoint, "--context-window", window,
        "--output", tmp_path / "scores",
    )  # fmt: skip
    command = [
        "fairseq-eval-lm", folders.pieces, "--path", export(checkpoint, tmp_path / "plain.pt"),
        "--cpu", "--batch-size", 2, "--tokens-per-sample", 128, "--context-window", window,
        "--required-batch-size-multiple", 1,
    ]  # fmt: skip
    theirs = subprocess.run(
        list(map(str, command)), env=ENVIRONMENT, capture_output=True, text=True, check=True
    ).stdout
    (loss, perplexity) = re.findall(r"Loss \(base 2\): ([\d.]+), Perplexity: ([\d.]+)", theirs)[0]
    result = record(tmp_path / "scores" / "scores.test.json")
    pieces, words = result["scores"]
    assert pieces["bits"] == pytest.approx(float(loss), abs=6e-5)
    assert pieces["perplexity"] == pytest.approx(float(perplexity), rel=1e-4)
    text = lines(folders.texts / "test.en")
    n_words = sum(len(line.split()) for line in text) + len(text)
    assert pieces["count"] == sum(map(len, tokens(folders.pieces, "test")))
    assert words["count"] == n_words
    assert words["perplexity"] == pytest.approx(
        math.exp(math.log(pieces["perplexity"]) * pieces["count"] / n_words)
    )
    assert f"{words['perplexity']:.2f}" in printed
    assert f"samples     of 128 pieces, {window} of them context" in printed


def test_an_average_and_another_subset(folders: Folders) -> None:
    printed = done(
        "evaluate.sh", folders.pieces, "--save-dir", folders.trained, "--average", 2,
        "--subset", "valid", "--", "--batch-size", 3,
    )  # fmt: skip
    assert printed.count("made of") == 2 and "(6 updates)" in printed and "(12 upd" in printed
    assert "text        valid (valid.en)" in printed
    assert (folders.trained / "averaged_last2.eval" / "scores.valid.json").is_file()


def test_what_cannot_be_evaluated_is_refused(folders: Folders, tmp_path: Path) -> None:
    checkpoint = folders.trained / "checkpoint_last.pt"
    right = [folders.pieces, "--checkpoint", checkpoint, "--output", tmp_path]
    for arguments, message in (
        (["--subset", "test7"], "has no subset 'test7': it has train, valid, test"),
        (["--tokens-per-sample", 129], "is more than the 128 that"),
        (["--context-window", 128], "leaves none of 128 tokens to be scored"),
        (["--checkpoint", tmp_path / "none.pt"], "no such checkpoint"),
        (["--checkpoint", folders.pieces / "dict.txt"], "cannot be read as a checkpoint"),
    ):
        assert message in error("evaluate.sh", *right, *arguments), message
    assert not list(tmp_path.glob("scores*"))
    for flags, message in (
        (["--context-window", 3], "--context-window cannot be given after --"),
        (["--path=x"], "--path cannot be given after --: use --checkpoint"),
        (["--num-shards", 2], "--num-shards cannot be given"),
        (["--add-bos-token"], "it would be another protocol"),
        (["--post-process"], "this script reads the perplexity"),
        (["--beams", 2], "fairseq-eval-lm does not take these flags"),
    ):
        assert message in error("evaluate.sh", *right, "--", *flags, status=2), message
    other = error("evaluate.sh", folders.words, *right[1:])
    assert "was trained with another dictionary" in other


def test_lines_that_are_too_long_are_not_left_out(folders: Folders, tmp_path: Path) -> None:
    """fairseq-eval-lm leaves them out of the perplexity and says nothing."""
    short = ["--sample-break-mode", "eos", "--tokens-per-sample", 16]
    train(folders.pieces, tmp_path, "--", *TINY, *short)
    line = error("evaluate.sh", folders.pieces, "--checkpoint", tmp_path / "checkpoint_last.pt")
    lines = MMapIndexedDataset(str(folders.pieces / "test"))  # its sizes live as long as it
    lengths = enumerate(lines.sizes.tolist(), start=1)
    long = [f"{number} ({size} tokens)" for number, size in lengths if size > 16]
    assert f"error: {len(long)} of the 53 lines of test are longer than the 16 tokens" in line
    assert f"the first of them {', '.join(long[:3])}: shorten or split them" in line


# --- WikiText-103 ----------------------------------------------------------------------------


def archive(folder: Path, train_lines: int = 40) -> tuple[Path, Path]:
    """A small archive of the public one's layout and name, and a table that speaks of it."""
    folder.mkdir(exist_ok=True)
    paragraph = " The <unk> of the river @-@ bank , in 1 @,@ 000 steps . \n"
    counts = {"train": train_lines, "valid": 7, "test": 9}
    path = folder / "wikitext-103-v1.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        for subset, count in counts.items():
            text = [" \n", " = Title = \n", *[paragraph] * (count - 2)]
            zipped.writestr(f"wikitext-103/wiki.{subset}.tokens", "".join(text))
    entry = {"file": f"wikitext/{path.name}", "urls": ["http://127.0.0.1:9/"], "source": "a test"}
    entry |= {"pairs": {"train": 40, "valid": 7, "test": 9}}
    table = folder / "archives.json"
    table.write_text(json.dumps({"wikitext-103": entry}))
    return path, table


def test_wikitext_103(tmp_path: Path) -> None:
    _, table = archive(tmp_path / "files")
    output = tmp_path / "data, here" / "wikitext-103"
    output.parent.mkdir()
    arguments = ["--from-dir", tmp_path / "files", "--output", output, "--workers", 1]
    printed = done("prepare_wikitext_103.sh", *arguments, LRDROP_ARCHIVES=str(table))
    assert re.search(r"train +wiki.train.tokens +40 ", printed)
    assert not output.with_name("wikitext-103.work").exists()
    prepared = record(output / "prepare.json")
    assert prepared["unit"] == "word" and prepared["subsets"]["test"]["lines"] == 9
    found = tokens(output, "test")
    assert found[0] == ["</s>"] and found[1] == ["=", "Title", "=", "</s>"]
    assert found[2][:3] == ["The", "<unk>", "of"] and "@-@" in found[2]
    assert prepared["subsets"]["test"]["unknown"] == 7  # that of the text, no other
    again = run("prepare_wikitext_103.sh", *arguments, LRDROP_ARCHIVES=str(table))
    assert again.returncode == 1 and "exists; choose another --output" in again.stderr


def test_another_text_than_the_published_one_is_refused(tmp_path: Path) -> None:
    _, table = archive(tmp_path / "files", train_lines=39)
    result = run(
        "prepare_wikitext_103.sh", "--from-dir", tmp_path / "files", "--output", tmp_path / "data",
        LRDROP_ARCHIVES=str(table),
    )  # fmt: skip
    assert result.returncode == 1 and "has 39 lines, and 40 are published" in result.stderr
    assert not (tmp_path / "data").exists()
    result = run(
        "prepare_wikitext_103.sh", "--from-dir", tmp_path / "files", "--output", tmp_path / "data"
    )
    assert result.returncode == 1 and "is altered: its sha256 is" in result.stderr
