"""A user's own labelled text: prepare, fine-tune an imported encoder, score, predict; bad files."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import options as fairseq_options
from fairseq.data import Dictionary, data_utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from transformers import BertConfig, BertForMaskedLM

from examples.language_understanding import (
    encoders,
    own_predict,
    own_prepare,
    predict_subset,
    prepare_glue,
    seed_plot,
    seed_summary,
    sentence_tasks,
    small_corpora,
)
from lrdrop_fairseq.import_encoder.__main__ import main as import_encoder
from tests.killed import kill_when
from tests.toy_encoders import make_folder, pieces, write_tokenizer
from tests.warm import KILLED

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "language_understanding"


POSITIONS = 24
# The label is what sleeps; the numbers are not in the order of their letters.
ANIMALS = {"9": "dog", "10": "cat", "-1": "house"}
FILLERS = "the one small old red quick here today".split()


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    fixed = {"VIRTUAL_ENV": sys.prefix, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore", **fixed}


def run(
    script: str, *arguments: object, text: str | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [str(EXAMPLE / script), *map(str, arguments)]
    return subprocess.run(
        command, env=env or environment(), input=text, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own text")


@pytest.fixture(scope="module")
def encoder(root: Path) -> Path:
    """A small BERT that was imported."""
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(pieces("bert")), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=POSITIONS,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(str(root / "bert"))
    write_tokenizer(root / "bert", "bert")
    assert import_encoder([str(root / "bert"), str(root / "encoder")]) == 0
    return root / "encoder"


@pytest.fixture(scope="module")
def roberta(root: Path) -> Path:
    """A small RoBERTa that was imported."""
    make_folder(root / "roberta", "roberta")
    assert import_encoder([str(root / "roberta"), str(root / "encoder of roberta")]) == 0
    return root / "encoder of roberta"


def sentence(word: str, draw: random.Random) -> str:
    return " ".join([*draw.sample(FILLERS, 4), word, "sleeps"])


def rows(count: int, seed: int) -> list[tuple[str, ...]]:
    """Labelled sentences."""
    draw = random.Random(seed)
    labels = [list(ANIMALS)[number % 3] for number in range(count)]
    return [(label, sentence(ANIMALS[label], draw)) for label in labels]


def numbered(count: int, seed: int) -> list[tuple[str, ...]]:
    """Pairs, with the number of animals in them that are dogs."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        words = [draw.choice(["dog", "house"]) for _ in range(2)]
        label = f"{words.count('dog'):.2f}"
        found.append((label, *(sentence(word, draw) for word in words)))
    return found


def write_tsv(path: Path, table: list[tuple[str, ...]], end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join("\t".join(row) + end for row in table).encode())
    return path


def write_all(folder: Path, make: Any = rows) -> dict[str, Path]:
    """train.tsv, valid.tsv and test.tsv."""
    sizes = {"train": 90, "valid": 30, "test": 21}
    return {
        name: write_tsv(folder / f"{name}.tsv", make(count, seed))
        for seed, (name, count) in enumerate(sizes.items())
    }


def prepare(output: Path, files: dict[str, Path], encoder: Path | None, **more: Any) -> Any:
    """own_prepare.py in this process; returns what prepare.json says."""
    output.mkdir(parents=True)
    settings: dict[str, Any] = dict.fromkeys(("bpe", "sentencepiece", "dictionary", "test"))
    settings |= dict(label_column=None, text_columns=None, regression=False, workers=1)
    settings |= dict(encoder=encoder, output=output, name=output.name)
    described = own_prepare.prepare(Namespace(**{**settings, **files, **more}))
    (output / "prepare.json").write_text(json.dumps(described))
    return described


def contents(data: Path, *folders: str) -> dict[str, bytes]:
    """The files in some folders of a data directory."""
    paths = [path for folder in folders for path in sorted((data / folder).iterdir())]
    return {str(path.relative_to(data)): path.read_bytes() for path in paths}


def texts(data: Path, name: str, subset: str) -> list[str]:
    """The pieces of one input."""
    dictionary = Dictionary.load(str(data / name / "dict.txt"))
    found = data_utils.load_indexed_dataset(str(data / name / subset), dictionary)
    assert all(tokens[-1] == dictionary.eos() for tokens in found)
    return [dictionary.string(tokens) for tokens in found]


def labels(data: Path) -> list[str]:
    return [line.split()[0] for line in (data / "label" / "dict.txt").read_text().splitlines()]


def test_what_is_prepared(encoder: Path, tmp_path: Path) -> None:
    """Texts and labels of every row, in order; what prepare.json says; the tokenizer's copy."""
    files = write_all(tmp_path)
    described = prepare(tmp_path / "data" / "animals", files, encoder)
    data = tmp_path / "data" / "animals"
    assert labels(data) == described["labels"] == ["-1", "9", "10"]
    for seed, subset in enumerate(files):
        expected = rows({"train": 90, "valid": 30, "test": 21}[subset], seed)
        assert texts(data, "input0", subset) == [text for _, text in expected]
        words = Dictionary.load(str(data / "label" / "dict.txt"))
        given = data_utils.load_indexed_dataset(str(data / "label" / subset), words)
        assert [words.string(label) for label in given] == [label for label, _ in expected]
        assert described["subsets"][subset]["examples"] == len(expected)
    assert not (data / "input1").exists() and not described["pairs"]
    assert (described["kind"], described["classes"], described["metric"]) == (
        *("own text", 3),
        "accuracy",
    )
    assert described["subsets"]["train"]["label_counts"] == {"-1": 30, "9": 30, "10": 30}
    assert described["encoder"]["model_type"] == "bert"
    assert described["encoder"]["max_positions"] == POSITIONS
    for name in ("tokenizer.json", "import.json", "dict.txt"):
        assert (data / "encoder" / name).read_bytes() == (encoder / name).read_bytes()


def test_labels_that_are_not_all_whole_numbers_are_in_the_order_of_letters(
    encoder: Path, tmp_path: Path
) -> None:
    train = write_tsv(tmp_path / "train.txt", [(x, "dog") for x in ("b", "10", "9", "a c", "b")])
    valid = write_tsv(tmp_path / "valid.txt", [("a c", "cat")])
    described = prepare(tmp_path / "data", {"train": train, "valid": valid}, encoder)
    assert described["labels"] == ["10", "9", "a c", "b"]
    lines = (tmp_path / "data" / "label" / "dict.txt").read_text().splitlines()
    assert lines == ["10 1", "9 1", "a c 1", "b 2"]


def test_every_format_gives_the_same(encoder: Path, tmp_path: Path) -> None:
    """TSV; the same with a header, DOS line ends, a byte order mark, an empty line; CSV with fields
    on several lines; JSONL with numbers."""
    plain = [("3", 'the "old" dog, here', "a"), ("12", "one\u2028cat", "b"), ("3", "é house", "c")]
    names = ("mark", "first", "second")
    marked = dict(label_column="mark", text_columns="first,second")
    kinds = {"plain.tsv": {}, "named.tsv": marked, "t.csv": marked, "t.jsonl": marked}
    write_tsv(tmp_path / "plain.tsv", plain)
    header = write_tsv(tmp_path / "named.tsv", [names, *plain], "\r\n").read_bytes()
    (tmp_path / "named.tsv").write_bytes(b"\xef\xbb\xbf" + header + b"\r\n")
    with (tmp_path / "t.csv").open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow((*names, "other"))
        writer.writerows((m, a.replace("dog, ", "dog,\n"), f" {b}", "x") for m, a, b in plain)
    objects = [dict(zip(names, (int(m), a, b)), other=None) for m, a, b in plain]
    lines = "\n\n".join(json.dumps(entry, ensure_ascii=False) for entry in objects)
    (tmp_path / "t.jsonl").write_text(lines, encoding="utf-8")

    found, places, empty = {}, {}, {}
    for name, options in kinds.items():
        data = tmp_path / "data" / name
        files = {"train": tmp_path / name, "valid": tmp_path / name}
        described = prepare(data, files, encoder, **options)
        found[name] = contents(data, "input0", "input1", "label", "encoder")
        places[name] = (data / "lines" / "train.txt").read_text().split()
        empty[name] = described["subsets"]["train"]["empty_lines"]
    assert all(files == found["plain.tsv"] for files in found.values())
    assert places == {
        "plain.tsv": ["1", "2", "3"],
        "named.tsv": ["2", "3", "4"],
        "t.csv": ["2", "4", "5"],
        "t.jsonl": ["1", "3", "5"],
    }
    assert empty == {"plain.tsv": 0, "named.tsv": 1, "t.csv": 0, "t.jsonl": 2}


def test_numbers_pairs_and_what_is_cut(encoder: Path, roberta: Path, tmp_path: Path) -> None:
    """Numbers stay as they are written. 24 positions: <s>, 11 pieces and </s>, 10 and </s>; a
    RoBERTa has a second </s> between the texts, and here 30 positions."""
    fits = ("dog " * 11, "cat " * 10)
    table = [("-3.50", *fits), ("1e2", "dog " * 12, "cat " * 10), ("7", "dog", "cat ~")]
    train = write_tsv(tmp_path / "train.tsv", table)
    files = {"train": train, "valid": train}
    described = prepare(tmp_path / "data", files, encoder, regression=True)
    assert (tmp_path / "data" / "label" / "train.label").read_text() == "-3.50\n1e2\n7\n"
    assert described["subsets"]["train"]["cut"] == 1
    assert described["subsets"]["train"]["unknown_symbols"] == 1
    assert described["subsets"]["train"]["numbers"] == {"min": -3.5, "max": 100, "mean": 34.5}
    assert described["subsets"]["valid"]["also_in_train"] == 3
    assert (described["classes"], described["labels"], described["pairs"]) == (1, [], True)
    said = "\n".join(own_prepare.report(described))
    for part in ("not scaled", "1 of them are cut to 24", "3 of them have a text that train has",
                 "1 of its symbols are unknown"):  # fmt: skip
        assert part in said
    longer = [("1", "dog " * 16, "cat " * 10), ("2", "dog " * 16, "cat " * 11)]
    files["train"] = files["valid"] = write_tsv(tmp_path / "longer.tsv", longer)
    described = prepare(tmp_path / "other", files, roberta, regression=True)
    assert described["subsets"]["train"]["cut"] == 1


def test_other_vocabularies(tmp_path: Path) -> None:
    """GPT-2's BPE and sentencepiece, and their files in the data directory."""
    from sentencepiece import SentencePieceTrainer

    files = write_all(tmp_path)
    small_corpora.write_bpe(tmp_path)
    described = prepare(tmp_path / "a", files, None, bpe=tmp_path)
    assert described["encoder"]["kind"] == "gpt2-bpe"
    model = tmp_path / "sp.model"
    SentencePieceTrainer.train(
        input=str(files["train"]), model_prefix=str(tmp_path / "sp"), vocab_size=34,
        minloglevel=2, num_threads=1,
    )  # fmt: skip
    vocabulary = [line.split("\t")[0] for line in (tmp_path / "sp.vocab").read_text().splitlines()]
    (tmp_path / "sp.txt").write_text("".join(f"{piece} 1\n" for piece in vocabulary[3:]))
    options = dict(sentencepiece=model, dictionary=tmp_path / "sp.txt")
    described = prepare(tmp_path / "b", files, None, **options)
    assert described["encoder"]["kind"] == "sentencepiece"
    expected = [text for _, text in rows(21, 2)]
    joined = [text.replace(" ", "").replace("▁", " ").strip() for text in
              texts(tmp_path / "b", "input0", "test")]  # fmt: skip
    assert joined == expected
    for data in (tmp_path / "a", tmp_path / "b"):
        copy = encoders.saved(data / "encoder")
        ids = data_utils.load_indexed_dataset(str(data / "input0" / "test"), copy.dictionary)
        assert [list(row) for row in ids] == list(copy.encode(expected))


BAD = [
    ("train.tsv", b"1\tdog\n2\n", "train.tsv, line 2: 1 fields where LABEL<TAB>TEXT"),
    ("train.tsv", b"1\ta\tb\tc\n", "train.tsv, line 1: 4 fields where LABEL<TAB>TEXT"),
    ("train.tsv", b"1\tdog\n2\tdog\tcat\n", "train.tsv, line 2: 3 fields, but line 1 of train.tsv"),
    ("valid.tsv", b"1\tdog\tcat\n", "valid.tsv, line 1: 3 fields, but line 1 of train.tsv has 2"),
    ("train.tsv", b"1\tdog\n\n2\t \n", "train.tsv, line 3: the text is empty"),
    ("train.tsv", b"1\tdog\n \tdog\n", "train.tsv, line 2: the label is empty"),
    ("train.tsv", b"1\tdog\n2\tdog \xe9\n",
     "train.tsv, line 2: byte 0xe9 in column 7 is not valid UTF-8"),
    ("train.tsv", b"1\tdog\n2\tdog\0\n", "train.tsv, line 2: a NUL character"),
    ("train.tsv", b"\n\n", "train.tsv: no rows in it"),
    ("train.tsv", b"1\tdog\n1\tcat\n",
     "train.tsv: every label is '1', but a classification needs two"),
    ("train.tsv", b"1\tdog\n<unk>\tcat\n", "train.tsv, line 2: the label '<unk>' has a meaning"),
    ("valid.tsv", b"1\tdog\n\n3\tcat\n",
     "valid.tsv, line 3: the label '3' is none of the 2 that train.tsv has: 1, 2"),
    ("test.tsv", b"1\tdog\n1 2\tcat\n", "test.tsv, line 2: the label '1 2' is none of"),
    ("train.csv", b"label,text\n1,a,b\n",
     "train.csv, line 2: 3 fields, but the header has 2 columns"),
    ("train.csv", b"label;text\n1;a\n",
     "train.csv, line 1: no column 'label' in the header; it has label;text"),
    ("train.csv", b"label,text,text\n", "train.csv, line 1: more than one column 'text'"),
    ("train.csv", b'label,text\n1,"a\nb"\n2,"c\nd',
     "train.csv, line 4: in the row that begins here"),
    ("train.csv", b'label,text\n1,"a\n\nb"\n2,\n', "train.csv, line 5: the text is empty"),
    ("train.csv", b"",
     "train.csv, line 1: no column 'label' in the header; it has nothing"),
    ("train.jsonl", b'{"label": 1, "text": "a"}\n{"label": 1\n',
     "train.jsonl, line 2: not valid JSON"),
    ("train.jsonl", b'{"label": 1, "txt": "a"}\n',
     "train.jsonl, line 1: no 'text' in the object; it has label, txt"),
    ("train.jsonl", b'{"label": null, "text": "a"}\n', "train.jsonl, line 1: 'label' is null"),
    ("train.jsonl", b'["a"]\n', "train.jsonl, line 1: a JSON object was expected"),
    ("train.jsonl", b'{"label": 1, "text": "a \\ud83d"}\n',
     "train.jsonl, line 1: 'text' holds half a character"),
    ("train.xlsx", b"", "train.xlsx: its name must end in .tsv or .txt"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "message"), BAD, ids=lambda value: str(value)[:30])
def test_bad_files(name: str, text: bytes, message: str, encoder: Path, tmp_path: Path) -> None:
    """Each message has the file, and the line if it is one's fault."""
    files = {
        subset: write_tsv(tmp_path / f"{subset}.tsv", [("1", f"dog {subset}"), ("2", "cat")])
        for subset in ("train", "valid", "test")
    }
    (tmp_path / name).write_bytes(text)
    files[name.split(".")[0]] = tmp_path / name
    with pytest.raises(sentence_tasks.TaskError) as error:
        prepare(tmp_path / "data", files, encoder)
    assert str(error.value).startswith(f"{tmp_path}/{message}")


def test_a_header_is_no_row(encoder: Path, tmp_path: Path) -> None:
    table = [("label", "text"), ("1", "dog"), ("2", "cat")]
    files = {name: write_tsv(tmp_path / f"{name}.tsv", table) for name in ("train", "valid")}
    with pytest.raises(sentence_tasks.TaskError, match=r"train.tsv, line 1: the same line begins"):
        prepare(tmp_path / "a", files, encoder)
    write_tsv(files["valid"], [("label", "sentence"), *table[1:]])
    with pytest.raises(sentence_tasks.TaskError, match="no other row has the label 'label'"):
        prepare(tmp_path / "f", files, encoder)
    write_tsv(files["valid"], [*table, ("label", "dog")])  # a label after all
    assert prepare(tmp_path / "e", files, encoder)["labels"] == ["1", "2", "label"]
    write_tsv(files["valid"], table)
    with pytest.raises(
        sentence_tasks.TaskError, match=r"line 1: 'label' is no number; if line 1 is a"
    ):
        prepare(tmp_path / "b", files, encoder, regression=True)
    described = prepare(tmp_path / "c", files, encoder, label_column="label", text_columns="text")
    assert described["labels"] == ["1", "2"]
    with pytest.raises(
        sentence_tasks.TaskError, match="--text-columns text,text: one column, or two"
    ):
        prepare(tmp_path / "d", files, encoder, text_columns="text,text")


@pytest.mark.parametrize("number", ["much", "nan", "inf", "1,5"])
def test_bad_numbers(number: str, encoder: Path, tmp_path: Path) -> None:
    train = write_tsv(tmp_path / "train.tsv", [("1", "dog"), (number, "cat")])
    valid = write_tsv(tmp_path / "valid.tsv", [("1", "dog"), ("1.0", "cat")])
    files = {"train": train, "valid": valid}
    with pytest.raises(
        sentence_tasks.TaskError, match=f"train.tsv, line 2: '{number}' is no number"
    ):
        prepare(tmp_path / "a", files, encoder, regression=True)
    write_tsv(train, [("1", "dog"), ("2", "cat")])
    with pytest.raises(sentence_tasks.TaskError, match=r"valid.tsv: every number is 1"):
        prepare(tmp_path / "b", files, encoder, regression=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--train is missing"),
        (["--train", "a.tsv", "--valid", "b.tsv", "--output", "c"], "--encoder is missing"),
        (["--train", "a.tsv", "--valid", "b.tsv", "--output", "c", "--encoder", "d", "--bpe", "e"],
         "only one of --encoder"),
        (["--train", "a.tsv", "--valid", "b.tsv", "--output", "c", "--sentencepiece", "d"],
         "--sentencepiece needs --dictionary"),
        (["--train", "a.tsv", "--valid", "b.tsv", "--output", "c:d", "--encoder", "d"],
         "takes ':' for a separator"),
        (["--labels", "2"], "unknown argument '--labels'"),
    ],
)  # fmt: skip
def test_refuses_bad_arguments(arguments: list[str], message: str) -> None:
    result = run("prepare_text.sh", *arguments)
    assert result.returncode == 2
    assert message in result.stderr and "Usage: examples/language_und" in result.stderr


def prepare_command(files: dict[str, Path], output: Path, encoder: Path) -> list[str]:
    named = [argument for name, path in files.items() for argument in (f"--{name}", str(path))]
    return [*named, "--encoder", str(encoder), "--output", str(output)]


def test_a_killed_preparation_leaves_nothing(encoder: Path, tmp_path: Path) -> None:
    """Killed, complete, the same again, other text, --force; a folder that is not ours."""
    files = write_all(tmp_path / "files")
    output = tmp_path / "da ta" / "animals"
    command = prepare_command(files, output, encoder)
    script = str(EXAMPLE / "prepare_text.sh")
    kill_when("reading the text", [script, *command], env=environment())
    assert not output.exists() and len(list(output.parent.iterdir())) == 1

    done = run("prepare_text.sh", *command)
    assert done.returncode == 0 and "removing what an earlier run left" in done.stderr
    assert [path.name for path in output.parent.iterdir()] == ["animals"]
    again = run("prepare_text.sh", *command)
    assert again.returncode == 0 and "is complete; --force makes it again" in again.stderr

    before = (output / "prepare.json").read_bytes()
    write_tsv(files["test"], [("9", "dog"), ("8", "cat")])
    refused = run("prepare_text.sh", *command)
    assert refused.returncode == 1 and "made of something else (files)" in refused.stderr
    wrong = run("prepare_text.sh", *command, "--force")
    assert wrong.returncode == 1 and f"{files['test']}, line 2: the label '8'" in wrong.stderr
    assert (output / "prepare.json").read_bytes() == before
    assert [path.name for path in output.parent.iterdir()] == ["animals"]

    (output / "prepare.json").unlink()
    strange = run("prepare_text.sh", *command, "--force")
    assert strange.returncode == 1 and "was not made by this script" in strange.stderr


def test_names_and_files_that_are_not_there(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    files = write_all(tmp_path)

    def refused(name: str, **changed: Path) -> str:
        command = prepare_command({**files, **changed}, tmp_path / "data", encoder)
        arguments = [*command, f"--name={name}", "--workers=1"]
        monkeypatch.setattr(sys, "argv", ["own_prepare.py", *arguments])
        assert own_prepare.main() == 1
        return capsys.readouterr().err

    assert "'RTE' is a task of GLUE" in refused("RTE")
    missing = tmp_path / "none.tsv"
    assert f"{missing} does not exist" in refused("a", valid=missing)
    command = prepare_command(files, tmp_path / "data", tmp_path)
    monkeypatch.setattr(sys, "argv", ["own_prepare.py", *command, "--name=a", "--workers=1"])
    assert own_prepare.main() == 1
    assert f"{tmp_path}/import.json cannot be read" in capsys.readouterr().err


@pytest.fixture
def recorded(tmp_path: Path) -> dict[str, str]:
    """An environment whose fairseq-train writes its arguments to $RECORD and fails."""
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "fairseq-train").write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$RECORD"\nexit 3\n')
    python = f'*cuda.is_available*) echo False ;;\n*) exec "{sys.executable}" "$@" ;;'
    (commands / "python").write_text(f'#!/bin/sh\ncase "$*" in\n{python}\nesac\n')
    for path in commands.iterdir():
        path.chmod(0o755)
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    return {**environment(), "PATH": path, "RECORD": str(tmp_path / "record")}


def finetune(task: str, data: Path, save_dir: Path, *more: object) -> list[object]:
    return ["finetune.sh", task, data, "--save-dir", save_dir, "--seeds", "2", *more]


def parsed(recorded: dict[str, str], arguments: list[object]) -> Any:
    """fairseq's configuration of the command that finetune.sh gives."""
    result = run(str(arguments[0]), *arguments[1:], env=recorded)
    assert result.returncode == 1 and "fine-tuning failed" in result.stderr, result.stderr
    given = Path(recorded["RECORD"]).read_text().splitlines()
    namespace = fairseq_options.parse_args_and_arch(fairseq_options.get_training_parser(), given)
    return convert_namespace_to_omegaconf(namespace)


def test_the_command_for_own_text(
    recorded: dict[str, str], encoder: Path, roberta: Path, tmp_path: Path
) -> None:
    """90 examples in batches of 16 are 6 updates: 10 epochs are 60, 6 % of them warm-up."""
    files = write_all(tmp_path / "files")
    data = tmp_path / "data"
    prepare(data / "animals", files, encoder)
    flags = ("--encoder", encoder, "--method", "rdrop")
    config = parsed(recorded, finetune("animals", data, tmp_path / "save", *flags))
    assert (config.task.num_classes, config.task.max_positions) == (3, POSITIONS)
    assert (config.task.init_token, config.task.separator_token) == (0, None)
    assert (config.dataset.batch_size, config.dataset.max_tokens) == (16, None)
    assert config.optimization.max_update == config.lr_scheduler.total_num_update == 60
    assert (config.lr_scheduler.warmup_updates, config.optimization.lr) == (4, [5e-5])
    assert config.checkpoint.best_checkpoint_metric == "accuracy"
    assert config.checkpoint.finetune_from_model == str(encoder / "model.pt")
    assert (config.model.arch, config.model.encoder_embed_dim) == ("lr_drop_roberta", 32)
    assert (config.model.layer_norm_epsilon, config.model.max_positions) == (1e-12, POSITIONS)

    more = ("--epochs", "3", "--", "--lr", "1e-3")
    config = parsed(recorded, finetune("animals", data, tmp_path / "other", *flags, *more))
    assert (config.optimization.max_update, config.optimization.lr) == (18, [1e-3])
    record = json.loads((tmp_path / "other" / "seed2" / "finetune.json").read_text())
    assert record["flags"] == "--epochs 3 --lr 1e-3"

    numbers = write_all(tmp_path / "numbers", numbered)
    prepare(data / "numbers", numbers, roberta, regression=True)
    flags = ("--encoder", roberta, "--method", "lrdrop")
    config = parsed(recorded, finetune("numbers", data, tmp_path / "third", *flags))
    assert config.task.separator_token == 2 and config.criterion.regression_target
    assert config.checkpoint.best_checkpoint_metric == "pearson_and_spearman"
    assert config.criterion.report_pearson_and_spearman


def test_glue_with_an_encoder(recorded: dict[str, str], encoder: Path, tmp_path: Path) -> None:
    """Prepared with its tokenizer; its sizes, and the settings of the task."""
    small_corpora.write_task(tmp_path / "raw", "MRPC", 40, 1)
    data = tmp_path / "data"
    (data / "MRPC").mkdir(parents=True)
    options = Namespace(task="MRPC", raw=tmp_path / "raw", bpe=None, encoder=encoder, workers=1,
                        output=data / "MRPC", any_size=True)  # fmt: skip
    described = prepare_glue.prepare(options)
    (data / "MRPC" / "prepare.json").write_text(json.dumps(described))
    assert described["encoder"]["model_type"] == "bert"
    assert texts(data / "MRPC", "input0", "train")[0].startswith("the ")
    flags = ("--encoder", encoder, "--method", "plain")
    config = parsed(recorded, finetune("MRPC", data, tmp_path / "save", *flags))
    assert (config.task.separator_token, config.task.max_positions) == (None, POSITIONS)
    assert (config.optimization.max_update, config.dataset.max_tokens) == (2296, 4400)

    epochs = run(*finetune("MRPC", data, tmp_path / "save", *flags, "--epochs", "3"), env=recorded)
    assert epochs.returncode == 1 and "--epochs is for own text; MRPC has 2296" in epochs.stderr
    both = run("prepare_glue.sh", "RTE", "--output", data, "--bpe", "a", "--encoder", encoder)
    assert both.returncode == 2 and "either --encoder or --bpe" in both.stderr


def test_refuses_data_of_another_encoder(
    recorded: dict[str, str], encoder: Path, roberta: Path, tmp_path: Path
) -> None:
    files = write_all(tmp_path / "files")
    small_corpora.write_bpe(tmp_path)
    data = tmp_path / "data"
    prepare(data / "animals", files, encoder)
    prepare(data / "bpe", files, None, bpe=tmp_path)

    def refused(task: str, *flags: object) -> str:
        command = finetune(task, data, tmp_path / "save", *flags, "--method", "plain")
        result = run(str(command[0]), *command[1:], env=recorded)
        assert result.returncode in (1, 2) and not (tmp_path / "save").exists(), result.stderr
        return result.stderr

    said = refused("animals", "--encoder", roberta)
    assert f"{data}/animals was prepared with another encoder than {roberta} (dict.txt" in said
    assert f"prepare it with --encoder {encoder}" in refused("bpe", "--encoder", encoder)
    model = ("--model", encoder / "model.pt", "--arch", "lr_drop_roberta")
    assert "was prepared with --encoder: give that" in refused("animals", *model)
    assert "either --encoder, or --model" in refused("animals", "--encoder", encoder, *model)
    assert "'birds' is no task: CoLA" in refused("birds", "--encoder", encoder)
    assert f"{tmp_path}/import.json cannot be read" in refused("animals", "--encoder", tmp_path)


def test_the_summary_has_own_tasks_after_those_of_glue(tmp_path: Path) -> None:
    base = {"subset": "test", "arch": "a", "method": "plain", "flags": "", "model": "m", "seed": 1}
    for task in ("birds", "RTE", "animals"):
        (tmp_path / task).mkdir()
        scores = {**base, "task": task, "scores": {"accuracy": 50.0}}
        (tmp_path / task / "scores.test.json").write_text(json.dumps(scores))
    grouped = seed_summary.read_scores([tmp_path])
    assert [row[0] for row in seed_summary.rows(grouped)] == ["RTE", "animals", "birds"]
    axes = seed_plot.draw(grouped).axes
    assert [panel.get_ylabel() for panel in axes] == ["accuracy [%]"] * 3


@pytest.fixture(scope="module")
def trained(root: Path, encoder: Path) -> Path:
    """The save dir of a fine-tuning that was killed and went on."""
    files = write_all(root / "files")
    prepare(root / "data" / "animals", files, encoder)
    flags = ["--encoder", encoder, "--method", "lrdrop", "--epochs", 6, "--", "--lr", "0.005"]
    flags += ["--lr-drop-hidden-weight", "0.1", "--log-interval", "5"]
    command = finetune("animals", root / "data", root / "save", *flags)
    arguments = [str(EXAMPLE / str(command[0])), *map(str, command[1:])]
    quiet: dict[str, Any] = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process = subprocess.Popen(arguments, env={**environment(), **KILLED}, **quiet)
    seed = root / "save" / "seed2"
    while not (seed / "checkpoint_last.pt").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    assert not json.loads((seed / "finetune.json").read_text())["finished"]
    done = run(str(command[0]), *command[1:])
    assert done.returncode == 0, done.stderr[-3000:]
    assert "resuming from" in done.stderr and "36 updates in batches of 16" in done.stderr
    return root / "save"


def score(root: Path, save_dir: Path) -> str:
    """evaluate.py score in this process, on the test set."""
    record = json.loads((save_dir / "seed2" / "finetune.json").read_text())
    assert record["finished"]
    said: str = predict_subset.evaluate_seed(save_dir / "seed2", root / "data", "test", False)
    return said


def fields(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


def test_from_text_to_scores_and_predictions(root: Path, trained: Path) -> None:
    """The test set is scored, each row named; predict.sh gives the same labels, in order."""
    assert "accuracy" in score(root, trained) and "complete" in score(root, trained)
    found = json.loads((trained / "seed2" / "scores.test.json").read_text())
    assert found["scores"]["accuracy"] > 90 and found["examples"] == 21
    table = fields(trained / "seed2" / "predictions.test.tsv")
    assert table[0] == ["index", "prediction", "label", "line"]
    given = rows(21, 2)
    assert [(row[2], row[3]) for row in table[1:]] == [
        (label, str(line)) for line, (label, _) in enumerate(given, start=1)
    ]
    lines = "".join(f"{text}\r\n" for _, text in given)
    done = run("predict.sh", trained / "seed2" / "checkpoint_best.pt", text=f"\ufeff{lines}")
    assert done.returncode == 0, done.stderr
    answers = [line.split("\t") for line in done.stdout.splitlines()]
    assert [label for label, _ in answers] == [row[1] for row in table[1:]]
    assert all(1 / 3 < float(probability) <= 1 for _, probability in answers)
    assert "does not know" not in done.stderr
    done = run("predict.sh", trained / "seed2" / "checkpoint_best.pt", text="dog\n漢 dog 漢\n")
    assert "warning: 2 pieces that the model does not know, in 1 lines" in done.stderr


def predict(checkpoint: Path, text: bytes, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    """own_predict.py in this process."""
    monkeypatch.setattr(sys, "argv", ["own_predict.py", str(checkpoint), *more])
    stdin = Namespace(buffer=text.splitlines(keepends=True))
    monkeypatch.setattr(own_predict.sys, "stdin", stdin)
    status: int = own_predict.main()
    return status


def test_predict_refuses_before_it_prints(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    best = trained / "seed2" / "checkpoint_best.pt"
    for text, message in {
        b"dog\n\ncat\n": "standard input, line 2: it is empty",
        b"dog\ndog\tcat\n": "standard input, line 2: 2 fields, but the model takes a text",
        b"dog\ncat\ndog \xff\n": "standard input, line 3: byte 0xff",
    }.items():
        assert predict(best, text, monkeypatch) == 1
        captured = capfd.readouterr()
        assert message in captured.err and not captured.out
    # Without finetune.json the data must be named.
    (tmp_path / "moved.pt").write_bytes(best.read_bytes())
    assert predict(tmp_path / "moved.pt", b"dog\n", monkeypatch) == 1
    assert "give its data directory by --data" in capfd.readouterr().err
    # Other labels, since the data were prepared again.
    record = json.loads((trained / "seed2" / "finetune.json").read_text())
    data = tmp_path / "data" / "animals"
    small_corpora.write_bpe(tmp_path)
    prepare(trained.parent / "data" / "bpe", write_all(tmp_path), None, bpe=tmp_path)
    files = write_all(tmp_path / "files", lambda n, seed: rows(n, seed) + [("x", "dog")])
    prepare(data, files, trained.parent / "encoder")
    for folder, message in {
        data: "another dictionary (labels) than that",
        trained.parent / "data" / "bpe": "another dictionary (source) than that",
    }.items():
        assert predict(tmp_path / "moved.pt", b"dog\n", monkeypatch, f"--data={folder}") == 1
        assert message in capfd.readouterr().err
    (tmp_path / "finetune.json").write_text(json.dumps({**record, "data": str(data.parent)}))
    assert predict(tmp_path / "moved.pt", b"dog\n", monkeypatch) == 1
    assert "was prepared again since" in capfd.readouterr().err


def test_a_regression_of_pairs(
    root: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers are predicted as they are; long lines are cut, and said so."""
    files = write_all(root / "numbers", numbered)
    prepare(root / "data" / "dogs", files, encoder, regression=True)
    flags = ["--encoder", encoder, "--method", "plain", "--epochs", 6, "--", "--lr", "0.005"]
    command = finetune("dogs", root / "data", root / "dogs", *flags)
    done = run(str(command[0]), *command[1:])
    assert done.returncode == 0, done.stderr[-3000:]
    score(root, root / "dogs")
    seed = root / "dogs" / "seed2"
    found = json.loads((seed / "scores.test.json").read_text())["scores"]
    assert list(found) == ["pearson_and_spearman", "pearson", "spearman"]
    assert found["pearson"] > 70
    table = fields(seed / "predictions.test.tsv")[1:]
    given = numbered(21, 2)
    assert [float(row[2]) for row in table] == [float(label) for label, *_ in given]
    lines = "".join(f"{first}\t{second}\n" for _, first, second in given)
    long = "dog " * 30
    text = f"{lines}{long}\tcat\n".encode()
    capsys.readouterr()
    monkeypatch.setattr(sys.stdout, "reconfigure", lambda **options: None, raising=False)
    assert predict(seed / "checkpoint_best.pt", text, monkeypatch) == 0
    captured = capsys.readouterr()
    assert "1 lines are cut to 24 pieces" in captured.err
    numbers = [float(line) for line in captured.out.splitlines()]
    assert len(numbers) == 22
    assert numbers[:21] == pytest.approx([float(row[1]) for row in table], abs=1e-5)
