"""prepare_glue.sh: the eight layouts in small, what it refuses, archives, and what it leaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from fairseq.data import Dictionary, data_utils
from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

from examples.language_understanding import (
    binarize,
    glue_files,
    prepare_glue,
    sentence_tasks,
    small_corpora,
)

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "language_understanding"
SCRIPT = EXAMPLE / "prepare_glue.sh"


# What is to be read from each file: sentences with an unbalanced quotation mark, a carriage return,
# a line separator of Unicode, a number, a letter beyond ASCII; and the label.
A, B, C = 'the "old\rdog sleeps', "nobody\u2028waits", "the train's 3.5 \u00e9"
PAIRS = {"train": [(A, B, 0), (C, A, 1), (B, C, 0)], "valid": [(B, A, 1)], "test": [(C, B, None)]}
SUBSETS = {"train": "train", "valid": "dev", "test": "test"}
HEADERS = {
    "SST-2": "sentence label",
    "MRPC": "Quality,#1 ID,#2 ID,#1 String,#2 String",
    "STS-B": "index genre filename year old_index source1 source2 sentence1 sentence2 score",
    "QQP": "id qid1 qid2 question1 question2 is_duplicate",
    "MNLI": "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse "
    "sentence1_parse sentence2_parse sentence1 sentence2 label1 gold_label",
    "QNLI": "index question sentence label",
    "RTE": "index sentence1 sentence2 label",
}
TEST_HEADERS = {
    "CoLA": "index sentence",
    "SST-2": "index sentence",
    "MRPC": "index,#1 ID,#2 ID,#1 String,#2 String",
    "QQP": "id question1 question2",
}
LABELS: dict[str, list[str]] = {
    **dict.fromkeys(("CoLA", "SST-2", "MRPC", "QQP"), ["0", "1"]),
    "STS-B": ["0.000", "3.750"],
    "MNLI": ["contradiction", "neutral"],
    "QNLI": ["entailment", "not_entailment"],
    "RTE": ["entailment", "not_entailment"],
}
PAIR = ("sentence1", "sentence2")
SENTENCES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("CoLA", "SST-2"), ("sentence",)),
    "MRPC": ("#1 String", "#2 String"),
    "QQP": ("question1", "question2"),
    "QNLI": ("question", "sentence"),
    **dict.fromkeys(("STS-B", "MNLI", "RTE"), PAIR),
}
LABEL = ("label", "Quality", "score", "is_duplicate", "gold_label")


def header(task: str, subset: str) -> list[str]:
    """The names of the columns of a file; for CoLA those that its header would have."""
    if task == "CoLA" and subset != "test":
        return ["source", "label", "mark", "sentence"]
    names = TEST_HEADERS.get(task, HEADERS.get(task, "")) if subset == "test" else HEADERS[task]
    split = names.split("," if "," in names else " ")
    return [n for n in split if n not in LABEL and n != "label1"] if subset == "test" else split


def row(
    task: str, names: list[str], first: str, second: str, label: int | None, number: int = 7
) -> str:
    """A line of a file; what is not read is filled with other text."""
    values = {name: f"other {name}" for name in names}
    values |= dict.fromkeys(("index", "id"), str(number))
    for name, text in zip(SENTENCES[task], (first, second)):
        values[name] = text
    if label is not None:
        values.update({name: LABELS[task][label] for name in names if name in LABEL})
    return "\t".join(values[name] for name in names)


def file_name(task: str, subset: str) -> list[str]:
    stem = SUBSETS[subset]
    if task == "MNLI" and subset != "train":
        return [f"{stem}_matched.tsv", f"{stem}_mismatched.tsv"]
    return [f"{stem}.tsv"]


def write_task(folder: Path, task: str, end: str = "\n") -> Path:
    """FOLDER/TASK in the layout of the archive, one line or more in each file."""
    (folder / task).mkdir(parents=True)
    for subset, examples in PAIRS.items():
        names = header(task, subset)
        lines = [row(task, names, *one, number) for number, one in enumerate(examples, start=70)]
        if task != "CoLA" or subset == "test":
            lines.insert(0, "\t".join(names))
        for name in file_name(task, subset):
            text = "".join(f"{line}{end}" for line in lines)
            (folder / task / name).write_bytes(text.encode())
    return folder / task


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bpe")
    small_corpora.write_bpe(folder)
    return folder


def prepare(task: str, raw: Path, bpe: Path, output: Path) -> dict[str, Any]:
    """prepare_glue.py without its sizes, in this process."""
    output.mkdir()
    options = Namespace(task=task, raw=raw, bpe=bpe, encoder=None, output=output, workers=1)
    options.any_size = True
    described: dict[str, Any] = prepare_glue.prepare(options)
    return described


def gpt2_encoder(folder: Path) -> Any:
    return get_encoder(str(folder / "encoder.json"), str(folder / "vocab.bpe"))


def sentences(data: Path, name: str, subset: str) -> list[str]:
    """The text of one input, as it comes back through BPE."""
    dictionary = Dictionary.load(str(data / name / "dict.txt"))
    rows = data_utils.load_indexed_dataset(str(data / name / subset), dictionary)
    encoder = gpt2_encoder(data / "encoder")
    texts = []
    for tokens in rows:
        assert tokens[-1] == dictionary.eos()
        texts.append(encoder.decode([int(dictionary[index]) for index in tokens[:-1]]))
    return texts


def labels(data: Path, subset: str) -> list[str]:
    dictionary = Dictionary.load(str(data / "label" / "dict.txt"))
    rows = data_utils.load_indexed_dataset(str(data / "label" / subset), dictionary)
    return [dictionary.string(tokens) for tokens in rows]


@pytest.mark.parametrize("task", sentence_tasks.read_tasks())
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_each_layout(task: str, end: str, bpe: Path, tmp_path: Path) -> None:
    """The right columns go to the right places, for all subsets, whatever else is in the file."""
    write_task(tmp_path / "raw", task, end)
    data = tmp_path / "data"
    described = prepare(task, tmp_path / "raw", bpe, data)
    single = task in ("CoLA", "SST-2")
    assert (data / "input1").exists() != single
    subsets = dict(PAIRS)
    if task == "MNLI":
        subsets |= {"valid1": PAIRS["valid"], "test1": PAIRS["test"]}
    assert {name: facts["examples"] for name, facts in described["subsets"].items()} == {
        name: len(examples) for name, examples in subsets.items()
    }
    for subset, examples in subsets.items():
        assert sentences(data, "input0", subset) == [first for first, _, _ in examples]
        if not single:
            assert sentences(data, "input1", subset) == [second for _, second, _ in examples]
        names = (data / "ids" / f"{subset}.txt").read_text().split()
        has_names = {"index", "id"} & set(header(task, subset.rstrip("1")))
        assert names == [str(i + (70 if has_names else 0)) for i in range(len(examples))]
        if subset.startswith("test"):
            assert not list((data / "label").glob(f"{subset}*"))
        elif task == "STS-B":
            numbers = (data / "label" / f"{subset}.label").read_text().split()
            expected = [[0.0, 0.75][label] for _, _, label in examples if label is not None]
            assert [float(number) for number in numbers] == expected
        else:
            given = [LABELS[task][label] for _, _, label in examples if label is not None]
            assert labels(data, subset) == given
    assert described["unknown_symbols"] == 0


def test_labels_keep_the_order_of_the_table(bpe: Path, tmp_path: Path) -> None:
    """Not that of their frequency, as fairseq-preprocess would have it; counts of the training."""
    write_task(tmp_path / "raw", "MNLI")
    prepare("MNLI", tmp_path / "raw", bpe, tmp_path / "data")
    lines = (tmp_path / "data" / "label" / "dict.txt").read_text().splitlines()
    assert lines == ["contradiction 2", "neutral 1", "entailment 0"]


def test_equals_fairseq_preprocess(bpe: Path, tmp_path: Path) -> None:
    """The same bytes as fairseq-preprocess of the same BPE."""
    write_task(tmp_path / "raw", "RTE")
    prepare("RTE", tmp_path / "raw", bpe, tmp_path / "data")
    encoder = gpt2_encoder(bpe)
    lines = [" ".join(map(str, encoder.encode(first))) for first, _, _ in PAIRS["train"]]
    (tmp_path / "bpe.train").write_text("".join(f"{line}\n" for line in lines))
    flags = [
        "--only-source",
        "--srcdict",
        str(bpe / "dict.txt"),
        "--destdir",
        str(tmp_path / "ref"),
    ]
    command = [sys.executable, "-m", "fairseq_cli.preprocess", *flags]
    subprocess.run(
        [*command, "--trainpref", str(tmp_path / "bpe.train")], check=True, capture_output=True
    )
    for suffix in ("bin", "idx"):
        ours = (tmp_path / "data" / "input0" / f"train.{suffix}").read_bytes()
        assert ours == (tmp_path / "ref" / f"train.{suffix}").read_bytes()


def test_workers_change_nothing(bpe: Path, tmp_path: Path) -> None:
    texts = [f"the old dog sleeps {number}" for number in range(2500)]
    one = list(binarize.encode_all(texts, bpe, 1))
    assert list(binarize.encode_all(texts, bpe, 2)) == one
    assert len(one) == 2500 and one[0] != one[1]


def test_mrpc_from_the_original_corpus(bpe: Path, tmp_path: Path) -> None:
    """msr_paraphrase_*.txt with a byte order mark; the listed pairs are for validation."""
    raw = tmp_path / "raw"
    raw.mkdir()
    names = HEADERS["MRPC"].replace(",", "\t")
    rows = [("1", "10", "11", A, B), ("0", "12", "13", B, C), ("1", "11", "10", C, A)]
    text = "\n".join([names, *("\t".join(fields) for fields in rows)])
    (raw / "msr_paraphrase_train.txt").write_text(f"\ufeff{text}\n", encoding="utf-8")
    (raw / "msr_paraphrase_test.txt").write_text(f"{names}\n0\t1\t2\t{C}\t{B}\n", encoding="utf-8")
    (raw / "mrpc_dev_ids.tsv").write_text("12\t13\n10\t99\n")
    data = tmp_path / "data"
    prepare("MRPC", raw, bpe, data)
    assert sentences(data, "input0", "train") == [A, C]
    assert sentences(data, "input1", "valid") == [C]
    assert sentences(data, "input0", "test") == [C]
    rows_of = {path.stem: path.read_text().split() for path in (data / "ids").iterdir()}
    assert rows_of == {"train": ["0", "2"], "valid": ["1"], "test": ["0"]}
    assert labels(data, "train") == ["1", "1"] and labels(data, "valid") == ["0"]
    (raw / "mrpc_dev_ids.tsv").unlink()
    with pytest.raises(sentence_tasks.TaskError, match="not mrpc_dev_ids.tsv"):
        prepare("MRPC", raw, bpe, tmp_path / "again")


def test_qqp_leaves_broken_lines_out_and_says_so(bpe: Path, tmp_path: Path) -> None:
    train = write_task(tmp_path / "raw", "QQP") / "train.tsv"
    train.write_bytes(train.read_bytes() + b"7\t8\tbroken\n")
    described = prepare("QQP", tmp_path / "raw", bpe, tmp_path / "data")
    assert described["subsets"]["train"]["dropped_lines"] == [5]
    assert described["subsets"]["train"]["examples"] == 3


def test_rows_after_a_broken_line_keep_their_names(bpe: Path, tmp_path: Path) -> None:
    test = write_task(tmp_path / "raw", "QQP") / "test.tsv"
    test.write_bytes(test.read_bytes() + f"71\tbroken\n72\t{A}\t{B}\n".encode())
    described = prepare("QQP", tmp_path / "raw", bpe, tmp_path / "data")
    assert described["subsets"]["test"]["dropped_lines"] == [3]
    assert (tmp_path / "data" / "ids" / "test.txt").read_text() == "70\n72\n"
    with test.open("ab") as stream:
        stream.write(f"70\t{A}\t{B}\n".encode())
    with pytest.raises(sentence_tasks.TaskError, match="line 5: row 70 again, after line 2"):
        prepare("QQP", tmp_path / "raw", bpe, tmp_path / "again")


BROKEN = [
    ("RTE", "train.tsv", ("sentence2", "sentenceX"), "train.tsv, line 1: no column 'sentence2'"),
    ("RTE", "dev.tsv", ("not_entailment", "maybe"), "dev.tsv, line 2: label 'maybe' is none of"),
    ("RTE", "train.tsv", ("\tentailment", ""), "train.tsv, line 2: 3 fields, but there are 4"),
    ("STS-B", "dev.tsv", ("3.750", "5.1"), r"dev.tsv, line 2: score '5.1' is not in 0 to 5"),
    ("STS-B", "dev.tsv", ("3.750", "nan"), "score 'nan'"),
    ("STS-B", "dev.tsv", ("3.750", "much"), "score 'much'"),
    ("SST-2", "test.tsv", ("70\t", "a\t"), "test.tsv, line 2: 'a' in the .* is no number"),
]


@pytest.mark.parametrize(("task", "name", "change", "message"), BROKEN)
def test_refuses_broken_files(
    task: str, name: str, change: tuple[str, str], message: str, bpe: Path, tmp_path: Path
) -> None:
    """With the file and the line."""
    path = write_task(tmp_path / "raw", task) / name
    before, after = (text.encode() for text in change)
    path.write_bytes(path.read_bytes().replace(before, after))
    with pytest.raises(sentence_tasks.TaskError, match=message):
        prepare(task, tmp_path / "raw", bpe, tmp_path / "data")


def test_refuses_other_damage(bpe: Path, tmp_path: Path) -> None:
    folder = write_task(tmp_path / "raw", "RTE")
    (folder / "test.tsv").write_bytes(b"index\tsentence1\tsentence2\n0\t\xff\xfe\tx\n")
    with pytest.raises(sentence_tasks.TaskError, match="not UTF-8"):
        prepare("RTE", tmp_path / "raw", bpe, tmp_path / "a")
    (folder / "test.tsv").write_text("index\tsentence1\tsentence2\n")
    with pytest.raises(sentence_tasks.TaskError, match="no examples for 'test'"):
        prepare("RTE", tmp_path / "raw", bpe, tmp_path / "b")
    (folder / "test.tsv").unlink()
    with pytest.raises(sentence_tasks.TaskError, match="test.tsv does not exist"):
        prepare("RTE", tmp_path / "raw", bpe, tmp_path / "c")
    with pytest.raises(sentence_tasks.TaskError, match="neither CoLA/train.tsv"):
        prepare("CoLA", tmp_path / "raw", bpe, tmp_path / "d")
    other = tmp_path / "bpe"
    shutil.copytree(bpe, other)
    (other / "encoder.json").write_text("{")
    with pytest.raises(
        sentence_tasks.TaskError, match="encoder.json, vocab.bpe or dict.txt is damaged"
    ):
        prepare("RTE", tmp_path / "raw", other, tmp_path / "e")


def test_an_encoder_that_does_not_belong_to_the_merges_is_refused(
    bpe: Path, tmp_path: Path
) -> None:
    write_task(tmp_path / "raw", "RTE")
    other = tmp_path / "bpe"
    shutil.copytree(bpe, other)
    pieces = json.loads((bpe / "encoder.json").read_text())
    kept = {piece: number for piece, number in pieces.items() if piece != "t"}
    (other / "encoder.json").write_text(json.dumps(kept))
    with pytest.raises(
        sentence_tasks.TaskError, match="encoder.json lacks 't', which vocab.bpe makes"
    ):
        prepare("RTE", tmp_path / "raw", other, tmp_path / "f")


def test_published_sizes(bpe: Path) -> None:
    """Every subset of every task has one, and another number is refused."""
    for name in sentence_tasks.read_tasks():
        sizes = sentence_tasks.read_sizes(name)
        assert sizes.keys() == {table.subset for table in glue_files.TABLES[name]}
        task = sentence_tasks.read_task(name)
        prepare_glue.check_sizes(task, sizes)
        with pytest.raises(
            sentence_tasks.TaskError, match=f"{sizes['train'] - 1:,} examples in 'train'"
        ):
            prepare_glue.check_sizes(task, {**sizes, "train": sizes["train"] - 1})


def run(*arguments: object, table: Path | None = None) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "VIRTUAL_ENV": sys.prefix, "OMP_NUM_THREADS": "1"}
    if table:
        environment["LRDROP_ARCHIVES"] = str(table)
    command = [str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


MSR_FILES = {
    "glue-mrpc-train": ("msr_paraphrase_train.txt", ["1\t10\t11\ta\tb", "0\t12\t13\tc\td"]),
    "glue-mrpc-test": ("msr_paraphrase_test.txt", ["0\t1\t2\te\tf"]),
}


def write_archives(folder: Path, bpe: Path) -> Path:
    """Archives of RTE, MRPC and BPE in FOLDER/archives; the table that names them."""
    archives = folder / "archives"
    made = write_task(folder / "made", "RTE")
    files = {"glue-rte": "glue/RTE.zip", "glue-mrpc-dev-ids": "glue/mrpc_dev_ids.tsv"}
    (archives / "glue").mkdir(parents=True)
    with zipfile.ZipFile(archives / "glue" / "RTE.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(made.iterdir()):
            archive.write(path, f"RTE/{path.name}")
    for name, (file, rows) in MSR_FILES.items():
        text = "\n".join([HEADERS["MRPC"].replace(",", "\t"), *rows, ""])
        (archives / "glue" / file).write_text(text)
        files[name] = f"glue/{file}"
    (archives / "glue" / "mrpc_dev_ids.tsv").write_text("12\t13\n")
    (archives / "gpt2_bpe").mkdir()
    for name, file in {"encoder": "encoder.json", "vocab": "vocab.bpe", "dict": "dict.txt"}.items():
        files[f"gpt2-bpe-{name}"] = f"gpt2_bpe/{file}"
        (archives / "gpt2_bpe" / file).write_bytes((bpe / file).read_bytes())
    table = folder / "archives.json"
    table.write_text(
        json.dumps({n: {"file": file, "urls": ["none:"]} for n, file in files.items()})
    )
    return table


def test_from_archives_to_data(bpe: Path, tmp_path: Path) -> None:
    """By the downloader; what a killed run left; a repeated run; --force; a truncated archive."""
    table = write_archives(tmp_path, bpe)
    archive = tmp_path / "archives" / "glue" / "RTE.zip"
    output = tmp_path / "data with spaces"
    flags = ("--output", output, "--from-dir", tmp_path / "archives", "--workers", 1)
    (output / f".prepare-partial.{os.uname().nodename}.999999999").mkdir(parents=True)

    refused = run("RTE", *flags, table=table)
    assert refused.returncode == 1
    assert "3 examples in 'train', but 2,490 are published" in refused.stderr
    assert not list(output.iterdir())

    done = run("RTE", "MRPC", *flags, "--any-size", table=table)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in output.iterdir()) == ["MRPC", "RTE"]
    assert labels(output / "RTE", "train") == ["entailment", "not_entailment", "entailment"]
    assert labels(output / "MRPC", "train") == ["1"] and labels(output / "MRPC", "valid") == ["0"]
    written = (output / "RTE" / "prepare.json").stat().st_mtime_ns

    again = run("RTE", *flags, "--any-size", table=table)
    assert again.returncode == 0 and "is complete" in again.stderr
    assert (output / "RTE" / "prepare.json").stat().st_mtime_ns == written

    other = shutil.copytree(bpe, tmp_path / "other bpe")
    with (other / "dict.txt").open("a") as dictionary:
        dictionary.write("one-more 1\n")
    refused = run("RTE", *flags, "--any-size", "--bpe", other, table=table)
    assert refused.returncode == 1 and "made with another tokenizer (gpt2-bpe)" in refused.stderr
    same = run("RTE", *flags, "--any-size", "--bpe", bpe, table=table)
    assert same.returncode == 0 and "is complete" in same.stderr

    forced = run("RTE", *flags, "--any-size", "--force", table=table)
    assert forced.returncode == 0, forced.stderr
    assert (output / "RTE" / "prepare.json").stat().st_mtime_ns > written
    written = (output / "RTE" / "prepare.json").stat().st_mtime_ns

    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    broken = run("RTE", *flags, "--any-size", "--force", table=table)
    assert broken.returncode == 1 and "RTE.zip" in broken.stderr, broken.stderr
    assert sorted(path.name for path in output.iterdir()) == ["MRPC", "RTE"]
    assert (output / "RTE" / "prepare.json").stat().st_mtime_ns == written


def test_bpe_without_network_is_verified(bpe: Path, tmp_path: Path) -> None:
    """Files that are not GPT-2's are refused, unless they are given as a vocabulary of your own."""
    write_task(tmp_path / "raw", "RTE")
    shutil.copytree(bpe, tmp_path / "raw", dirs_exist_ok=True)
    flags = ("--output", tmp_path / "data", "--from-dir", tmp_path / "raw", "--any-size")
    refused = run("RTE", *flags)
    assert refused.returncode == 1 and "encoder.json" in refused.stderr, refused.stderr
    assert not list((tmp_path / "data").iterdir())
    done = run("RTE", *flags, "--bpe", bpe, "--workers", 1)
    assert done.returncode == 0, done.stderr


def test_every_archive_is_in_the_table_of_archives(bpe: Path, tmp_path: Path) -> None:
    """Each task asks the downloader for names that it knows: only the file is not there."""
    for task in sentence_tasks.read_tasks():
        result = run(task, "--output", tmp_path / "data", "--from-dir", tmp_path, "--bpe", bpe)
        assert result.returncode == 1
        assert f"{tmp_path} holds no " in result.stderr, result.stderr
        assert "can be had from\n  https://dl.fbaipublicfiles.com/" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no task given"),
        (["RTE"], "--output is missing"),
        (["WNLI", "--output", "x"], "'WNLI' is no task"),
        (["RTE", "--output", "x", "--workers", "0"], "--workers must be"),
        (["RTE", "--output", "--force"], "--output needs a value"),
        (["RTE", "--output", "x", "--size"], "unknown option --size"),
    ],
)
def test_refuses_bad_arguments(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr and "Usage: examples/language_und" in result.stderr


def test_takes_no_folder_for_its_own(bpe: Path, tmp_path: Path) -> None:
    write_task(tmp_path / "raw", "RTE")
    (tmp_path / "data" / "RTE").mkdir(parents=True)
    flags = ("--output", tmp_path / "data", "--from-dir", tmp_path / "raw", "--any-size", "--force")
    result = run("RTE", *flags)
    assert result.returncode == 1 and "was not made by this script" in result.stderr
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["RTE"]
