"""scripts/prepare.sh: what it writes, what it drops, what it refuses, and how it is interrupted."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from fairseq.data import Dictionary

from scripts.corpora import prepare_copies, prepare_subwords, prepare_text, prepare_vocabulary
from tests.killed import kill_when

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "prepare.sh"
WORDS = "der die Frau läuft große Straße Hund über schnell Bäume Kinder spielen rot Haus".split()


def sentences(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [f"{' '.join(draw.choices(WORDS, k=draw.randint(2, 9)))}." for _ in range(count)]


def write(path: Path, lines: list[str], end: str = "\n") -> None:
    """Writes a text; a name in .gz is compressed."""
    data = "".join(f"{line}{end}" for line in lines).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_small(folder: Path) -> None:
    """The smallest corpus that every check accepts: one file per side and subset."""
    for seed, name in enumerate(("train", "valid", "test")):
        for lang in ("de", "en"):
            write(folder / f"{name}.{lang}", sentences(20, seed))


def environment() -> dict[str, str]:
    # The interpreter that runs the tests, whatever .venv the repository has.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "VIRTUAL_ENV": sys.prefix, "OMP_NUM_THREADS": "1"}


def command(folder: str, output: str, *extra: str, test: str = "test") -> list[str]:
    tests = ",".join(f"{folder}/{name}" for name in test.split(","))
    texts = ["--train", f"{folder}/train", "--valid", f"{folder}/valid", "--test", tests]
    langs = ["--source-lang", "de", "--target-lang", "en"]
    return ["bash", str(SCRIPT), *langs, *texts, "--output", output, *extra]


def run(arguments: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, cwd=cwd, env=environment(), capture_output=True, text=True, check=False
    )


def refused(arguments: list[str], cwd: Path, status: int = 1) -> str:
    """Runs what must be refused; returns its message, having checked that nothing was left."""
    before = sorted(cwd.rglob("*"))
    done = run(arguments, cwd)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert sorted(cwd.rglob("*")) == before
    return done.stderr


class Prepared:
    """One complete run on a corpus with every oddity that is to be accepted."""

    def __init__(self, home: Path) -> None:
        self.home = home
        # Spaces, and a comma, which fairseq-preprocess takes for a separator of prefixes.
        self.corpus, self.output = home / "my corpus", home / "a, b"
        text = sentences(300, seed=1)
        self.train_de = [*text, "", "  \t", "nur hier", "zu " * 1100, "\u200b"]
        self.train_en = [*text, "only here", "and here", "\u2028", "too long", "invisible"]
        self.test_de = ["Hund\u2028Haus\x85rot.", "", *sentences(5, seed=3), "über 漢字"]
        self.test_en = ["Frau läuft.", "Kinder", *sentences(5, seed=4), ""]
        write(self.corpus / "train.de.gz", self.train_de)
        write(self.corpus / "train.en", self.train_en)
        write(self.corpus / "valid.de", [f"\ufeff{WORDS[0]} Hund", "a\rb"], end="\r\n")
        (self.corpus / "valid.en").write_text("the dog\na b", encoding="utf-8")  # no end of line
        write(self.corpus / "test.de", self.test_de)
        write(self.corpus / "test.en.gz", self.test_en)
        write(self.corpus / "other.de.gz", ["rot " * 1030])
        write(self.corpus / "other.en.gz", ["rot"])
        self.done = run(self.command("--workers", "1"), home)
        assert self.done.returncode == 0, self.done.stderr
        self.record = json.loads((self.output / "prepare.json").read_text(encoding="utf-8"))

    def command(self, *extra: str) -> list[str]:
        options = ("--vocab-size", "90", *extra)
        return command(self.corpus.name, self.output.name, *options, test="test,other")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared(tmp_path_factory.mktemp("prepare"))


def load_task(data: Path, subset: str) -> Any:
    """fairseq's translation task with one subset loaded."""
    from fairseq.tasks.translation import TranslationConfig, TranslationTask

    # The last two refer to other sections of the configuration, which is not there.
    config = TranslationConfig(
        data=str(data),
        source_lang="de",
        target_lang="en",
        dataset_impl="mmap",
        required_seq_len_multiple=1,
    )
    task = TranslationTask.setup_task(config)
    task.load_dataset(subset)
    return task


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.name != "preprocess.log"  # has the number of workers
    }


def test_layout(prepared: Prepared) -> None:
    names = {"prepare.json", "preprocess.log", "dict.de.txt", "dict.en.txt", "sentencepiece.model"}
    for subset in ("train", "valid", "test", "test1"):
        for lang in ("de", "en"):
            names |= {f"{subset}.de-en.{lang}.{end}" for end in ("bin", "idx")}
            names |= {f"raw/{subset}.{lang}"} if subset != "train" else set()
    files = [path for path in prepared.output.rglob("*") if path.is_file()]
    assert {str(path.relative_to(prepared.output)) for path in files} == names
    dictionary = (prepared.output / "dict.de.txt").read_bytes()
    assert dictionary == (prepared.output / "dict.en.txt").read_bytes()
    assert {path.name for path in prepared.home.iterdir()} == {"my corpus", "a, b"}


def test_record(prepared: Prepared) -> None:
    record = prepared.record
    assert (record["source_lang"], record["target_lang"]) == ("de", "en")
    assert (record["pretokenized"], record["vocab_size"]) == (False, 90)
    import sentencepiece

    assert record["sentencepiece"] == sentencepiece.__version__
    train = {
        key: record["train"][key] for key in record["train"] if key not in ("source", "target")
    }
    # Empty: one side empty, white space, U+2028, and U+200B, which nobody sees.
    assert train == {
        "prefix": "train",
        "pairs_read": 305,
        "pairs_kept": 300,
        "dropped_empty": 4,
        "dropped_long": 1,
    }
    subsets = {name: (s["prefix"], s["pairs"]) for name, s in record["subsets"].items()}
    assert subsets == {"valid": ("valid", 2), "test": ("test", 8), "test1": ("other", 1)}
    # "über 漢字": the two characters, which sentencepiece takes together, and the lone start of a
    # word before them, which it knows but which never occurs in the training text.
    assert record["subsets"]["test"]["source"]["unknown"] == 2
    assert record["subsets"]["test"]["target"]["unknown"] == 0


def test_table_and_messages(prepared: Prepared) -> None:
    table = prepared.done.stdout
    assert re.search(r"^train +train +300 ", table, re.MULTILINE)
    assert re.search(r"^test +test +8 ", table, re.MULTILINE)
    assert re.search(r"^test1 +other +1 ", table, re.MULTILINE)
    assert "305 pairs read, 4 dropped with an empty side, 1 with more than 1023 tokens" in table
    assert "raw/test1.de, line 1: " in prepared.done.stderr  # too long for a default model


def test_evaluation_texts_are_kept_as_they_are(prepared: Prepared) -> None:
    def raw(name: str) -> str:
        return (prepared.output / "raw" / name).read_bytes().decode()

    assert raw("test.de") == "".join(f"{line}\n" for line in prepared.test_de)
    assert raw("test.en") == "".join(f"{line}\n" for line in prepared.test_en)
    # Line ends, byte order mark and a carriage return within a line are the exceptions.
    assert raw("valid.de") == f"{WORDS[0]} Hund\na b\n"
    assert raw("valid.en") == "the dog\na b\n"


def test_fairseq_detokenizes_what_was_written(prepared: Prepared) -> None:
    from fairseq.data.encoders.sentencepiece_bpe import SentencepieceBPE, SentencepieceConfig

    model = str(prepared.output / "sentencepiece.model")
    bpe = SentencepieceBPE(SentencepieceConfig(sentencepiece_model=model))
    task = load_task(prepared.output, "train")
    dataset, dictionary = task.dataset("train"), task.source_dictionary
    assert len(dataset) == 300
    for index, line in enumerate(prepared.train_de[:300]):
        tokens = dataset.src[index]
        assert dictionary.string(tokens, "sentencepiece") == line
        assert bpe.decode(dictionary.string(tokens)) == line
        assert dictionary.string(tokens) == bpe.encode(line)  # what fairseq-interactive feeds


def test_white_space_of_any_kind_separates_words(prepared: Prepared) -> None:
    task = load_task(prepared.output, "test")
    tokens = task.dataset("test").src[0]
    assert task.source_dictionary.string(tokens, "sentencepiece") == "Hund Haus rot."


def test_an_empty_test_line_is_translated_like_the_others(prepared: Prepared) -> None:
    import torch
    from fairseq.models.transformer import TransformerModel, tiny_architecture
    from fairseq.sequence_generator import SequenceGenerator

    task = load_task(prepared.output, "test")
    dataset = task.dataset("test")
    assert dataset.src[1].tolist() == [task.source_dictionary.eos()]
    torch.manual_seed(1)
    arguments = Namespace()
    tiny_architecture(arguments)
    model = TransformerModel.build_model(arguments, task).eval()
    generator = SequenceGenerator([model], task.target_dictionary, beam_size=2, max_len_b=5)
    batches = task.get_batch_iterator(dataset, max_sentences=3).next_epoch_itr(shuffle=False)
    translated = []
    for batch in batches:
        hypotheses = generator.generate([model], batch)
        assert all(len(best[0]["tokens"]) > 0 for best in hypotheses)
        translated += batch["id"].tolist()
    assert sorted(translated) == list(range(8))


def test_repeated_after_a_kill(prepared: Prepared) -> None:
    """A killed run leaves the old directory; a repeated one replaces it, with the same bytes
    although it has other workers, more than some texts have lines."""
    before = contents(prepared.output)
    arguments = prepared.command("--workers", "4", "--force")
    kill_when("binarizing", arguments, cwd=prepared.home, env=environment())
    assert len(list(prepared.home.glob("*.prepare-partial.*"))) == 1
    assert contents(prepared.output) == before

    (prepared.output / "stale").touch()
    done = run(arguments, prepared.home)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in prepared.home.iterdir()} == {"my corpus", "a, b"}
    assert contents(prepared.output) == before


def test_original_texts_of_the_test_sets(tmp_path: Path) -> None:
    """Two test sets and their texts before they were tokenized, each with its own."""
    corpus = tmp_path / "corpus"
    write_small(corpus)
    (tmp_path / "codes").write_text("#version: 0.2\nd e\n")
    for name in ("other", "test.original", "other.original"):
        for lang in ("de", "en"):
            write(corpus / f"{name}.{lang}", [f"{name} {lang}"] * (20 if "test" in name else 3))
    originals = "corpus/test.original,corpus/other.original"
    options = ("--pretokenized", "--original", originals, "--bpe-codes", "codes")
    done = run(command("corpus", "out", *options, test="test,other"), tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert (out / "bpecodes").read_text() == "#version: 0.2\nd e\n"
    assert (out / "original" / "test.de").read_text() == "test.original de\n" * 20
    assert (out / "original" / "test1.en").read_text() == "other.original en\n" * 3
    subsets = json.loads((out / "prepare.json").read_text())["subsets"]
    originals = {name: subset.get("original") for name, subset in subsets.items()}
    expected = {"valid": None, "test": "test.original", "test1": "other.original"}
    assert originals == expected
    # In the wrong order they have other numbers of lines.
    options = ("--pretokenized", "--original", "corpus/other.original,corpus/test.original")
    message = refused(command("corpus", "new", *options, test="test,other"), tmp_path)
    assert "--original corpus/other.original has 3 lines" in message


def test_pretokenized(tmp_path: Path) -> None:
    lines = {"train": ["ein gro@@ ßer Hund", "zwei  Hun@@ de"], "valid": ["ein Hund"]}
    lines["test"] = ["ein klei@@ ner Hund", ""]
    for name, texts in lines.items():
        for lang in ("de", "en"):
            write(tmp_path / "corpus" / f"{name}.{lang}", texts)
    done = run(command("corpus", "out", "--pretokenized", "--workers", "2"), tmp_path)
    assert done.returncode == 0, done.stderr
    output = tmp_path / "out"
    record = json.loads((output / "prepare.json").read_text(encoding="utf-8"))
    assert record["pretokenized"] is True
    assert record["vocab_size"] is None
    assert not (output / "sentencepiece.model").exists()
    # ein, gro@@, ßer, Hund, zwei, Hun@@, de and fairseq's four, filled up to a multiple of 8.
    assert record["dictionary_size"] == 16
    assert record["subsets"]["test"]["source"] == {"tokens": 4, "unknown": 2}
    assert (output / "raw" / "test.en").read_text(encoding="utf-8") == "ein klei@@ ner Hund\n\n"
    task = load_task(output, "train")
    strings = [task.target_dictionary.string(task.dataset("train").tgt[i], "@@ ") for i in (0, 1)]
    assert strings == ["ein großer Hund", "zwei Hunde"]


def test_vocabulary_of_other_data(prepared: Prepared) -> None:
    """New text, in the other direction, with the words and the subwords of the first."""
    home, folder = prepared.home.parent / "vocabulary of", prepared.output
    write_small(home / "new")
    write(home / "new" / "test.en", [*sentences(19, seed=9), "漢字 Hund"])
    arguments = command("new", "out", "--vocabulary-of", str(folder), "--workers", "1")
    arguments = [{"de": "en", "en": "de"}.get(argument, argument) for argument in arguments]
    done = run(arguments, home)
    assert done.returncode == 0, done.stderr
    for name in ("dict.de.txt", "dict.en.txt", "sentencepiece.model"):
        assert (home / "out" / name).read_bytes() == (folder / name).read_bytes()
    record = json.loads((home / "out" / "prepare.json").read_text())
    kept = ("pretokenized", "vocab_size", "sentencepiece", "dictionary_size", "dictionary_sha256")
    assert {key: record[key] for key in kept} == {key: prepared.record[key] for key in kept}
    assert record["vocabulary_of"] == folder.name
    assert (record["source_lang"], record["target_lang"]) == ("en", "de")
    # Two characters that the first text did not have, and none unknown otherwise.
    assert record["subsets"]["test"]["source"]["unknown"] in (1, 2)
    assert record["subsets"]["test"]["target"]["unknown"] == 0
    from fairseq.data import Dictionary

    from lrdrop_fairseq.vocabulary import fingerprint

    symbols = Dictionary.load(str(home / "out" / "dict.de.txt")).symbols
    assert record["dictionary_sha256"] == fingerprint(symbols)


def take_over(data: Path, output: Path, pretokenized: bool = False) -> tuple[Any, Any]:
    (output / "text").mkdir(parents=True, exist_ok=True)
    return prepare_vocabulary.take_over(data, output, pretokenized, 1)  # type: ignore[no-any-return]


def write_vocabulary(folder: Path, pretokenized: bool, **more: object) -> Path:
    """As much of a data directory as --vocabulary-of looks at."""
    folder.mkdir()
    record = {"source_lang": "de", "target_lang": "en", "pretokenized": pretokenized, **more}
    (folder / "prepare.json").write_text(json.dumps(record))
    for lang in ("de", "en"):
        (folder / f"dict.{lang}.txt").write_text("Hun@@ 2\nde 1\n")
    return folder


def test_vocabulary_of_pretokenized_data(tmp_path: Path) -> None:
    """Its codes are applied to words; text in BPE is taken as it is."""
    data = write_vocabulary(tmp_path / "data", pretokenized=True, vocab_size=None)
    (data / "bpecodes").write_text("#version: 0.2\nH u\nHu n\nd e</w>\n")
    described, segment = take_over(data, tmp_path / "out")
    assert segment(["Hunde de", ""]) == [["Hun@@", "de", "de"], []]
    assert described == {"pretokenized": True, "vocab_size": None, "vocabulary_of": "data"}
    assert (tmp_path / "out" / "bpecodes").read_bytes() == (data / "bpecodes").read_bytes()
    dictionary = (tmp_path / "out" / "text" / "dict.txt").read_bytes()
    assert dictionary == (data / "dict.de.txt").read_bytes()
    (data / "bpecodes").unlink()
    _, segment = take_over(data, tmp_path / "in BPE", pretokenized=True)
    assert segment(["Hun@@ de"]) == [["Hun@@", "de"]]
    with pytest.raises(prepare_text.TextError, match="give it in BPE, with --pretokenized"):
        take_over(data, tmp_path / "none")
    (data / "bpecodes").write_text("no codes at all\n")
    with pytest.raises(prepare_text.TextError, match="bpecodes holds no BPE codes"):
        take_over(data, tmp_path / "damaged")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("prepare.json", None, "no prepare.json in it"),
        ("prepare.json", "{", "not valid JSON"),
        ("prepare.json", '{"task": "RTE"}', "is not of prepare.sh, or damaged"),
        ("dict.en.txt", None, "dict.en.txt does not exist"),
        ("dict.en.txt", "de\n", "a dictionary is damaged"),
        ("dict.en.txt", "de 1\nHun@@ 2\n", "dict.de.txt and .*dict.en.txt differ"),
        ("sentencepiece.model", None, "sentencepiece.model does not exist"),
        ("sentencepiece.model", "x", "is no model of sentencepiece"),
    ],
)
def test_vocabulary_that_cannot_be_taken(
    tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    data = write_vocabulary(tmp_path / "data", pretokenized=False)
    (data / "sentencepiece.model").write_text("a model")
    if text is None:
        (data / name).unlink()
    else:
        (data / name).write_text(text)
    with pytest.raises(prepare_text.TextError, match=message):
        take_over(data, tmp_path / "out")


def test_vocabulary_of_two_preparations_or_of_another_kind(tmp_path: Path) -> None:
    mixed = write_vocabulary(tmp_path / "mixed", True, dictionary_sha256="of other words")
    with pytest.raises(prepare_text.TextError, match="files of two preparations"):
        take_over(mixed, tmp_path / "out", pretokenized=True)
    pieces = write_vocabulary(tmp_path / "pieces", False)
    with pytest.raises(prepare_text.TextError, match="--pretokenized does not go with"):
        take_over(pieces, tmp_path / "out", pretokenized=True)


def test_a_folder_that_appears_meanwhile_is_not_moved_into(tmp_path: Path) -> None:
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.bin").touch()
    script = 'source "$0"; source "$ROOT/scripts/corpora/output_folders.sh"; move_folder "$@"'
    arguments = ["bash", "-c", script, str(ROOT / "scripts" / "common.sh")]
    assert "theirs was made meanwhile" in refused([*arguments, "mine", "theirs"], tmp_path)
    assert run([*arguments, "mine", "new"], tmp_path).returncode == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine.bin"]


def damage(folder: Path, what: str) -> None:
    """Makes one file of a good corpus unacceptable."""
    target = folder / "test.en"
    lines = target.read_bytes().splitlines(keepends=True)
    if what == "missing":
        target.rename(folder / "test.eng")
    elif what == "both":
        write(folder / "test.en.gz", ["x"])
    elif what == "empty":
        target.write_bytes(b"")
    elif what == "short":
        target.write_bytes(b"".join(lines[:-3]))
    elif what == "latin-1":
        target.write_bytes(b"".join([*lines[:6], "Straße\n".encode("latin-1"), *lines[7:]]))
    elif what == "utf-16":
        target.write_bytes("one line\nanother\n".encode("utf-16-le"))
    elif what == "utf-16 with mark":
        target.write_bytes("one line\nanother\n".encode("utf-16"))
    elif what == "truncated":  # all the text is there, but not the checksum that ends the data
        target.unlink()
        (folder / "test.en.gz").write_bytes(gzip.compress(b"".join(lines))[:-4])
    elif what == "unnamed gzip":
        target.write_bytes(gzip.compress(b"".join(lines)))
    elif what == "no gzip":
        target.rename(folder / "test.en.gz")
    elif what == "folder":
        target.unlink()
        target.mkdir()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "neither corpus/test.en nor corpus/test.en.gz exists: found test.de, test.eng"),
        ("both", "both corpus/test.en and corpus/test.en.gz exist"),
        ("empty", "corpus/test.en, line 1: the file is empty"),
        ("short", "corpus/test.de has 20 lines but corpus/test.en has 17"),
        ("short", "corpus/test.de, line 18 is the first without a partner"),
        ("latin-1", "corpus/test.en, line 7: byte 0xdf in column 5 is not valid UTF-8"),
        ("utf-16", "corpus/test.en, line 1: a NUL character"),
        ("utf-16 with mark", "corpus/test.en is UTF-16: convert it"),
        ("truncated", "corpus/test.en.gz, line 21: damaged or incomplete gzip data"),
        ("unnamed gzip", "corpus/test.en is gzip data"),
        ("no gzip", "corpus/test.en.gz, line 1: damaged or incomplete gzip data"),
        ("folder", "corpus/test.en is not a regular file"),
    ],
)
def test_refuses_damaged_text(tmp_path: Path, what: str, message: str) -> None:
    write_small(tmp_path / "corpus")
    damage(tmp_path / "corpus", what)
    assert message in refused(command("corpus", "out"), tmp_path)


def test_refuses_a_path_that_cannot_be_looked_at(tmp_path: Path) -> None:
    write_small(tmp_path / "corpus")
    assert "File name too long" in refused(command("corpus", "out", test=300 * "a"), tmp_path)


@pytest.mark.parametrize("symbol", ["<s>", "<pad>", "</s>"])
def test_control_symbols_are_no_tokens(tmp_path: Path, symbol: str) -> None:
    """Within a word, or in text that is still cut into pieces, they are text like any other."""
    dictionary = Dictionary()
    assert dictionary.index(symbol) in (dictionary.bos(), dictionary.pad(), dictionary.eos())
    (tmp_path / "a.xx").write_text(f"one two\nx{symbol} three\n", encoding="utf-8")
    (tmp_path / "a.yy").write_text(f"eins\nzwei\u00a0{symbol}\n", encoding="utf-8")
    given = (str(tmp_path / "a"), ("xx", "yy"), tmp_path, "copy")
    assert prepare_copies.copy_checked(*given) == 2
    with pytest.raises(
        prepare_text.TextError, match=f"a.yy, line 2: the token {symbol} would be a control"
    ):
        prepare_copies.copy_checked(*given, tokens=True)


def test_a_lone_carriage_return_does_not_end_a_line(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes("a\rb\r\n\u2028\x85c\n".encode())
    assert list(prepare_text.read_lines(path)) == ["a b", "\u2028\x85c"]


def test_refuses_a_training_text_of_which_nothing_is_left(tmp_path: Path) -> None:
    write_small(tmp_path / "corpus")
    write(tmp_path / "corpus" / "train.de", [""] * 20)
    message = refused(command("corpus", "out", "--pretokenized"), tmp_path)
    assert "of 20 pairs none is left: 20 have an empty side" in message


def test_output_that_exists(tmp_path: Path) -> None:
    write_small(tmp_path / "corpus")
    (tmp_path / "out").mkdir()
    assert "out exists" in refused(command("corpus", "out"), tmp_path)
    # --force replaces what this script made and nothing else, and not before the new one is there.
    (tmp_path / "out" / "thesis.tex").touch()
    forced = command("corpus", "out", "--force")
    assert "has no prepare.json" in refused(forced, tmp_path)
    (tmp_path / "out" / "prepare.json").touch()
    (tmp_path / "corpus" / "valid.de").unlink()
    assert "neither corpus/valid.de" in refused(forced, tmp_path)


def test_restores_what_a_killed_run_was_replacing(tmp_path: Path) -> None:
    write_small(tmp_path / "corpus")
    (tmp_path / "out.prepare-replaced").mkdir()
    (tmp_path / "out.prepare-replaced" / "prepare.json").touch()
    done = run(command("corpus", "out"), tmp_path)
    assert done.returncode == 1
    assert "restoring" in done.stderr
    assert (tmp_path / "out" / "prepare.json").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"corpus", "out"}


def test_vocabulary_size_too_large_names_the_largest(tmp_path: Path) -> None:
    write_small(tmp_path / "corpus")
    message = refused(command("corpus", "out"), tmp_path)
    found = re.search(r"--vocab-size 8000 is too large: .* use --vocab-size (\d+) or less", message)
    assert found
    largest = int(found[1])
    texts = [tmp_path / "corpus" / f"train.{lang}" for lang in ("de", "en")]
    prepare_subwords.train(texts, largest, tmp_path / "model")
    with pytest.raises(prepare_text.TextError, match=f"at most {largest} pieces"):
        prepare_subwords.train(texts, largest + 1, tmp_path / "model")


def test_vocabulary_size_too_small_names_the_smallest(tmp_path: Path) -> None:
    write_small(tmp_path)
    texts = [tmp_path / f"train.{lang}" for lang in ("de", "en")]
    with pytest.raises(prepare_text.TextError, match="too small") as error:
        prepare_subwords.train(texts, 5, tmp_path / "model")
    found = re.search(r"use --vocab-size (\d+) or more", str(error.value))
    assert found
    prepare_subwords.train(texts, int(found[1]), tmp_path / "model")


def test_pieces_that_the_training_text_lacks_are_cut_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the words, which all have a piece, parts are left from which they were merged."""
    text = sentences(300, seed=1)
    write(tmp_path / "text", text)
    parts = [word[:cut] for word in WORDS for cut in range(1, len(word))]
    with monkeypatch.context() as patch:
        patch.setattr(prepare_subwords, "leave_out_unseen", lambda *_: None)
        prepare_subwords.train([tmp_path / "text"], 90, tmp_path / "whole")
    prepare_subwords.train([tmp_path / "text"], 90, tmp_path / "model")
    whole, ours = (prepare_subwords.segmenter(tmp_path / name, 1) for name in ("whole", "model"))
    assert whole(text) == ours(text)
    seen = {piece for pieces in ours(text) for piece in pieces}

    def unseen(segment: prepare_subwords.Segmenter) -> list[str]:
        return [p for pieces in segment(parts) for p in pieces if len(p) > 1 and p not in seen]

    assert unseen(whole) and not unseen(ours)
    assert ["".join(pieces).replace("\u2581", " ").strip() for pieces in ours(parts)] == parts


def test_a_large_corpus_is_sampled_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 300 lines, at most 120 allowed, every third is taken: the model is theirs alone."""
    text = sentences(300, seed=1)
    write(tmp_path / "one", text[:100])
    write(tmp_path / "two", text[100:])
    write(tmp_path / "third", text[::3])
    prepare_subwords.train([tmp_path / "third"], 60, tmp_path / "expected")
    monkeypatch.setattr(prepare_subwords, "MAX_LINES", 120)
    prepare_subwords.train([tmp_path / "one", tmp_path / "two"], 60, tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == (tmp_path / "expected").read_bytes()


@pytest.mark.parametrize(("characters", "rare"), [(20, 1), (120, 0)])
def test_large_alphabets_lose_their_rarest_characters(
    tmp_path: Path, characters: int, rare: int
) -> None:
    """A character that occurs once in some 20,000 has a piece of its own as long as the alphabet
    takes at most a quarter of the vocabulary."""
    alphabet = [chr(0x4E00 + i) for i in range(characters)]
    draw = random.Random(1)
    text = ["".join(draw.choices(alphabet, k=5)) for _ in range(4000)]
    write(tmp_path / "text", [*text, "Ж"])
    described = prepare_subwords.train([tmp_path / "text"], 200, tmp_path / "model")
    assert described["character_coverage"] == (1.0 if rare else 0.9995)
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "model"))
    assert (model.piece_to_id("Ж") != model.unk_id()) == bool(rare)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([], "Usage:"),
        (["--mystery"], "unknown argument '--mystery'"),
        (["--output"], "--output needs a value"),
        (["--train", "--force"], "--train needs a value"),
        (["--target-lang", "de"], "both 'de'"),
        (["--target-lang", "e/n"], "'e/n' is no language"),
        (["--test", "a,"], "empty prefix"),
        (["--vocab-size", "8k"], "must be a whole number of at least 1, not '8k'"),
        (["--pretokenized", "--vocab-size", "9"], "--vocab-size has no effect"),
        (["--original", "a"], "--original and --bpe-codes describe --pretokenized text"),
        (["--pretokenized", "--original", "a,b"], "as many prefixes as --test: 'a,b'"),
        (["--pretokenized", "--bpe-codes", "a"], "there is no file 'a'"),
        (["--output", "a:b"], "takes ':' for a separator"),
        (["--output", "a${b}"], "takes '${' for the begin of a variable"),
        (["--output", "a\n"], "--output has a line break"),
        (["--output", "-a"], "--output '-a': other programs take a name with '-' in front"),
        (["--target-lang", "gz"], "'gz' is no language"),
        (["--vocab-size", "3000000000"], "--vocab-size is at most 2147483647, not '3000000000'"),
        (["--vocab-size", "9" * 30], "--vocab-size is at most 2147483647"),
        (["--workers", "1025"], "--workers is at most 1024, not '1025'"),
        (["--vocabulary-of", "a", "--vocab-size", "9"], "do not go with --vocabulary-of"),
    ],
)
def test_wrong_usage(tmp_path: Path, change: list[str], message: str) -> None:
    arguments = [*command("corpus", "out"), *change] if change else ["bash", str(SCRIPT)]
    said = refused(arguments, tmp_path, status=2)
    assert message in said
    assert "Usage: scripts/prepare.sh" in said


@pytest.mark.parametrize(
    "option", ["source-lang", "target-lang", "train", "valid", "test", "output"]
)
def test_every_required_option(tmp_path: Path, option: str) -> None:
    arguments = command("corpus", "out")
    index = arguments.index(f"--{option}")
    del arguments[index : index + 2]
    assert f"--{option} is missing" in refused(arguments, tmp_path, status=2)


def test_help(tmp_path: Path) -> None:
    done = run(["bash", str(SCRIPT), "--help"], tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: scripts/prepare.sh")
