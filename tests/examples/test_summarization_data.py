"""prepare_cnn_dm.sh on small files with the names and columns of the public ones."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest
from fairseq.data import Dictionary
from fairseq.data.encoders.gpt2_bpe_utils import get_encoder
from fairseq.data.indexed_dataset import MMapIndexedDataset
from pyarrow import parquet

from examples.summarization import documents, prepare_documents
from examples.summarization.small import make_bpe, news_corpus
from scripts.corpora import prepare_text

ROOT = Path(__file__).resolve().parents[2]
SUMMARIZATION = ROOT / "examples" / "summarization"

FILES = {
    "train": [f"train-0000{part}-of-00003.parquet" for part in range(3)],
    "valid": ["validation-00000-of-00001.parquet"],
    "test": ["test-00000-of-00001.parquet"],
}
NAMES = ["train-0", "train-1", "train-2", "validation", "test"]


def run(
    environment: dict[str, str], *arguments: object, scripts: Path = SUMMARIZATION
) -> subprocess.CompletedProcess[str]:
    command = [str(scripts / "prepare_cnn_dm.sh"), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def write_parquet(path: Path, rows: list[tuple[str, str]]) -> None:
    """Two rows to a row group, columns in the public order."""
    articles, highlights = zip(*rows)
    columns = {
        "article": articles,
        "highlights": highlights,
        "id": list(map(str, range(len(rows)))),
    }
    parquet.write_table(pyarrow.table(columns), path, row_group_size=2)


def corpus() -> dict[str, list[tuple[str, str]]]:
    """Rows of each split. Odd ones: line ends and wide spaces in an article, an empty article, a
    summary that is too long, and text outside ASCII."""
    train = [(f"Report {n} of the day.", f"Number {n} .\nIt rained .") for n in range(9)]
    train[3] = ("", "Nothing was written .")
    train[5] = ("A long story.", "la " * 1100)
    train[7] = ("Line one.\n\nLine\u00a0two \u2013 caf\u00e9.", "Two lines .\n\nOne caf\u00e9 .")
    valid = [("What happened.", "It did ."), ("", "An empty article ."), ("B.", "la " * 1100)]
    test = [(f"Test {n}.", f"The test {n} .\nIt passed .") for n in range(3)]
    return {"train": train, "valid": valid, "test": test}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("summarization data")


@pytest.fixture(scope="module")
def public(home: Path) -> Path:
    """A folder with all public files, as --from-dir takes it."""
    folder = home / "public files"
    folder.mkdir()
    rows = corpus()
    parts = [rows["train"][:4], rows["train"][4:6], rows["train"][6:], rows["valid"], rows["test"]]
    for name, part in zip([name for names in FILES.values() for name in names], parts):
        write_parquet(folder / name, part)
    text = home / "text"
    text.write_text("".join(f"{' '.join(row)}\n" for split in rows.values() for row in split))
    command = [sys.executable, str(SUMMARIZATION / "small" / "make_bpe.py"), "--merges", "40"]
    subprocess.run([*command, "--output", str(folder), str(text)], check=True)
    return folder


@pytest.fixture(scope="module")
def environment(home: Path, public: Path) -> dict[str, str]:
    """An environment in which the table of archives knows no checksums of our files."""
    files = {f"cnn-dailymail-{n}": f for n, f in zip(NAMES, sum(FILES.values(), []))}
    files |= {"gpt2-bpe-encoder": "encoder.json", "gpt2-bpe-vocab": "vocab.bpe"}
    table = {name: {"file": file, "urls": []} for name, file in files.items()}
    (home / "archives.json").write_text(json.dumps(table))
    variables = {"LRDROP_ARCHIVES": str(home / "archives.json"), "OMP_NUM_THREADS": "1"}
    return {"VIRTUAL_ENV": "/", **os.environ, **variables}


@pytest.fixture(scope="module")
def prepared(environment: dict[str, str], home: Path, public: Path) -> Path:
    """The data directory, made of the public files. The first try meets a truncated file: it is
    refused and leaves no output. The second one goes on with what the first one had."""
    output, broken = home / "data", public / FILES["train"][1]
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-100])
    command = ("--from-dir", public, "--output", output, "--workers", 2)
    first = run(environment, *command)
    assert first.returncode == 1 and broken.name in first.stderr
    assert not output.exists()
    broken.write_bytes(whole)
    second = run(environment, *command)
    assert second.returncode == 0, second.stderr
    assert "going on with what an earlier run left" in second.stderr
    assert "get cnn-dailymail-train-0" in first.stderr
    assert "get cnn-dailymail-train-0" not in second.stderr
    assert "get cnn-dailymail-train-1" in second.stderr
    return output


def decoded(data: Path, name: str, side: str) -> list[str]:
    """The texts that the binarized tokens stand for."""
    encoder = get_encoder(str(data / "gpt2" / "encoder.json"), str(data / "gpt2" / "vocab.bpe"))
    dictionary = Dictionary.load(str(data / f"dict.{side}.txt"))
    dataset = MMapIndexedDataset(str(data / f"{name}.source-target.{side}"))
    lines = (dictionary.string(tokens).split() for tokens in dataset)
    return [encoder.decode(list(map(int, line))) for line in lines]


def test_from_the_public_files(environment: dict[str, str], public: Path, prepared: Path) -> None:
    output = prepared
    rows = corpus()
    kept = [row for number, row in enumerate(rows["train"]) if number not in (3, 5)]
    assert decoded(output, "train", "source") == [" ".join(a.split()) for a, _ in kept]
    assert decoded(output, "train", "target") == [" ".join(h.split()) for _, h in kept]
    assert decoded(output, "test", "source") == [a for a, _ in rows["test"]]
    valid = decoded(output, "valid", "target")
    assert valid[:2] == ["It did .", "An empty article ."]
    assert " ".join(rows["valid"][2][1].split()).startswith(valid[2]) and len(valid[2]) > 1000

    reference = (output / "raw" / "test.target").read_text().splitlines()
    assert reference == [f"The test {n} .\tIt passed ." for n in range(3)]
    assert (output / "raw" / "valid.source").read_text().splitlines()[1] == ""
    assert (output / "raw" / "valid.target").read_text().splitlines()[2] == ("la " * 1100).strip()
    described = json.loads((output / "prepare.json").read_text())
    train, valid_set = described["train"], described["subsets"]["valid"]
    counts = [train[key] for key in ("pairs_read", "pairs_kept", "dropped_empty", "dropped_long")]
    assert counts == [9, 7, 1, 1] and train["source"]["unknown"] == 0
    assert (valid_set["pairs"], valid_set["shortened"]) == (3, 1)
    assert described["subsets"]["test"]["reference_sentences"] is True
    assert (output / "dict.source.txt").read_bytes() == (output / "dict.target.txt").read_bytes()
    beside = {path.name for path in output.parent.iterdir()}
    assert beside == {"data", "public files", "text", "archives.json"}

    again = run(environment, "--from-dir", public, "--output", output)
    assert again.returncode == 1 and "exists; choose another --output" in again.stderr


def test_texts_plain_and_gzipped(
    environment: dict[str, str], public: Path, prepared: Path, tmp_path: Path
) -> None:
    """The same corpus as texts, with a vocabulary of one's own, gives the same directory."""
    texts = tmp_path / "texts"
    texts.mkdir()
    for name, rows in corpus().items():
        for side, column in (("source", 0), ("target", 1)):
            lines = [" ".join(row[column].split()) for row in rows]
            if side == "target":
                lines = ["\t".join(row[1].split("\n")) for row in rows]
            data = "".join(f"{line}\n" for line in lines).encode()
            (texts / f"{name}.{side}.gz").write_bytes(gzip.compress(data))
    (texts / "valid.source").write_bytes(gzip.decompress((texts / "valid.source.gz").read_bytes()))
    (texts / "valid.source.gz").unlink()
    output = tmp_path / "data"
    command = ("--from-dir", texts, "--bpe", public, "--output", output, "--workers", 1)
    done = run(environment, *command)
    assert done.returncode == 0, done.stderr
    names = {path.relative_to(prepared) for path in prepared.rglob("*") if path.is_file()}
    assert len(names) > 20
    for name in names - {Path("prepare.json"), Path("preprocess.log")}:
        assert (prepared / name).read_bytes() == (output / name).read_bytes(), name


def test_nothing_is_taken_over_from_other_code(
    environment: dict[str, str], public: Path, tmp_path: Path
) -> None:
    """Not what an edited documents.py, say, would have read otherwise."""
    copy = tmp_path / "examples" / "summarization"
    for folder in (SUMMARIZATION, ROOT / "scripts"):
        shutil.copytree(folder, tmp_path / folder.relative_to(ROOT))
    incomplete = tmp_path / "from"
    incomplete.mkdir()
    for name in ("encoder.json", "vocab.bpe", "dict.txt"):
        shutil.copy(public / name, incomplete)
    command = ("--from-dir", incomplete, "--output", tmp_path / "data")
    assert run(environment, *command, scripts=copy).returncode == 1
    assert "going on with" in run(environment, *command, scripts=copy).stderr
    # Nor of files that have changed since.
    (incomplete / "train.source").write_text("a corpus of one's own\n")
    assert "starting anew" in run(environment, *command, scripts=copy).stderr
    assert "going on with" in run(environment, *command, scripts=copy).stderr
    with (copy / "documents.py").open("a") as code:
        code.write("# edited\n")
    assert "starting anew" in run(environment, *command, scripts=copy).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Usage: examples/summarization/prepare_cnn_dm.sh"),
        (["--from-dir", "."], "--output is missing"),
        (["--output", "a:b"], "takes ':' for a separator"),
        (["--output", "a", "--workers", "0"], "--workers must be"),
        (["--output", "a", "--limit", "3"], "unknown argument '--limit'"),
    ],
)
def test_refuses_bad_arguments(arguments: list[str], message: str) -> None:
    result = run({"VIRTUAL_ENV": "/", **os.environ}, *arguments)
    assert result.returncode == 2 and message in result.stderr


def test_parquet_with_other_columns_or_no_text(tmp_path: Path) -> None:
    path = tmp_path / "test.parquet"
    parquet.write_table(pyarrow.table({"document": ["a"], "highlights": ["b"]}), path)
    with pytest.raises(prepare_text.TextError, match="no column article: it has document, high"):
        list(documents.read([path]))
    parquet.write_table(pyarrow.table({"article": ["a", None], "highlights": ["b", "c"]}), path)
    with pytest.raises(prepare_text.TextError, match="row 2: article or highlights is no text"):
        list(documents.read([path]))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(prepare_text.TextError, match=r"has no validation\*.parquet, or validation"):
        documents.find(tmp_path, ("validation", "val"))


def test_encoding_keeps_the_order(tmp_path: Path) -> None:
    """Each document comes with its own tokens, whatever the batches."""
    text = tmp_path / "text"
    text.write_text("a b c d e 0 1 2 3 4 5 6 7 8 9\n")
    command = [sys.executable, str(SUMMARIZATION / "small" / "make_bpe.py"), "--merges", "3"]
    subprocess.run([*command, "--output", str(tmp_path), str(text)], check=True)
    encoder = get_encoder(str(tmp_path / "encoder.json"), str(tmp_path / "vocab.bpe"))
    given = [documents.Document.make(f"a {n}", f"b {n}", "\t") for n in range(2500)]
    result = list(prepare_documents.encoded(tmp_path, 1, iter(given)))
    assert [document for document, _, _ in result] == given
    for document, source, target in result:
        assert encoder.decode(list(map(int, source))) == document.source
        assert encoder.decode(list(map(int, target))) == document.summary


def test_bpe_of_its_own_merges_the_frequent_pairs() -> None:
    """Worked out by hand: "aab" 3 times, "ab" 2 times: (a, b) 5 times, (a, a) 3; then (a, ab)."""
    words = make_bpe.Counter({("a", "a", "b"): 3, ("a", "b"): 2})
    assert make_bpe.learn(words, 5) == [("a", "b"), ("a", "ab")]
    assert make_bpe.join(("a", "a", "a", "b"), ("a", "a")) == ("aa", "a", "b")


def test_corpus_has_its_summary_in_it() -> None:
    rng = news_corpus.random.Random(3)
    for _ in range(50):
        text, sentences = news_corpus.report(rng)
        headline, outcome = sentences
        names = {word.strip(".") for word in headline.split()}
        assert names & set(news_corpus.PLACES) and names & set(news_corpus.DAYS)
        said = names & {*news_corpus.PLACES, *news_corpus.DAYS}
        assert all(name in text for name in said)
        assert outcome.split()[0].lower() in text and outcome not in text
