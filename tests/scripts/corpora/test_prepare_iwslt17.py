"""scripts/prepare_iwslt17.sh, offline, on small archives with the layout of the real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.scores import (
    evaluate_scores,  # noqa: E402
    evaluate_text,  # noqa: E402
)
from tests.scripts.corpora.ted_archives import (
    ROOT,
    Runner,
    contents,
    joined,
    lines,
    sentence,
    tgz,
    train_tags,
    without_binarization,
    write_table,
    xml,
)

SCRIPT = "prepare_iwslt17.sh"
TRAIN = 60
# Each direction has its own archives; numbers tell them apart, and the sets from one another.
FIRST = {"fr-en": 0, "en-fr": 100, "zh-en": 200, "en-zh": 300}
YEARS = range(2010, 2016)


def train_archive(pair: str) -> dict[str, str]:
    files = {f"{pair}/README": "IWSLT 2017"}
    for lang in pair.split("-"):
        numbers = range(FIRST[pair], FIRST[pair] + TRAIN)
        # One pair with an empty side, and one that IWSLT14's cleaning would drop.
        extra = ["", "a b c d e f"] if lang == "en" else [sentence(lang, 0), "a"]
        tags = train_tags(lang, numbers, "IWSLT17", extra)
        files[f"{pair}/train.tags.{pair}.{lang}"] = tags
        for name, first in (("dev2010", 2000), *((f"tst{y}", 1000 + y) for y in YEARS)):
            text = xml(lang, range(first, first + 2))
            files[f"{pair}/IWSLT17.TED.{name}.{pair}.{lang}.xml"] = text
    return files


def test_archive(pair: str, first: int = 5000) -> dict[str, str]:
    """The sources of a direction's test sets; no references."""
    source = pair.split("-")[0]
    return {
        f"{pair}/IWSLT17.TED.tst{year}.{pair}.{source}.xml": xml(source, range(n, n + 3))
        for year, n in ((2016, first + 100), (2017, first))
    }


test_archive.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out like the cache, and a table: train and test have files of one name."""
    folder = tmp_path_factory.mktemp("archives")
    table = {}
    for kind, make in (("train", train_archive), ("test", test_archive)):
        for pair in FIRST:
            file = f"iwslt17/{kind}/{pair}.tgz"
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(tgz(make(pair)))
            table[f"iwslt17-{kind}-{pair}"] = {"file": file}
    write_table(folder, table)
    return folder


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return without_binarization(tmp_path_factory.mktemp("copy"))


@pytest.fixture
def runner(archives: Path, scripts: Path, tmp_path: Path) -> Runner:
    return Runner(scripts, archives / "archives.json", tmp_path)


def test_french_english(archives: Path, tmp_path: Path) -> None:
    """The whole way, and the scores of a perfect translation."""
    folder = tmp_path / "a, b"
    folder.mkdir()
    runner = Runner(ROOT / "scripts", archives / "archives.json", folder)
    runner.checked(SCRIPT, "fr-en", "--from-dir", archives)
    data = folder / "data" / "iwslt17.fr-en"
    assert sorted(path.name for path in data.parent.iterdir()) == ["iwslt17.fr-en"]
    prepared = json.loads((data / "prepare.json").read_text())
    train = prepared["train"]
    assert (train["pairs_read"], train["pairs_kept"], train["dropped_empty"]) == (62, 61, 1)
    assert {n: s["pairs"] for n, s in prepared["subsets"].items()} == {"valid": 6, "test": 3}
    assert prepared["subsets"]["test"]["prefix"] == "iwslt17.tst2017"
    assert (
        joined(data / "raw" / "test.fr")[0]
        == "cinq L' z\u00e9ro L' z\u00e9ro L' z\u00e9ro \" & so \" ."
    )
    assert joined(data / "raw" / "test.en")[0] == 'five Nought Nought Nought " & so . "'
    assert lines(data / "original" / "test.en") == [sentence("en", n) for n in (5000, 5001, 5002)]

    scores = scored(data, tmp_path, lines(data / "raw" / "test.en"))
    assert scores["tokenized BLEU"] == pytest.approx(100)
    assert list(scores)[1] == "sacreBLEU (detokenized by sacremoses, against the original text)"
    # The original has the quotation mark before the full stop: the published score sees that.
    assert 50 < scores[list(scores)[1]] < 100


def scored(data: Path, folder: Path, translations: list[str]) -> dict[str, float]:
    """What evaluate.sh says of these translations, given as fairseq-generate prints them."""
    generated = folder / "generated"
    text = "".join(f"H-{i}\t-0.1\t{line}\n" for i, line in enumerate(translations))
    generated.write_text(text, encoding="utf-8")
    _, _, scores = evaluate_scores.evaluate(data, "test", generated)
    return {score.title: score.value for score in scores}


def test_english_french_is_its_own_archive(runner: Runner, archives: Path) -> None:
    """Validation on tst2013 to tst2015 and no other year; the test set is that of sacreBLEU,
    whose reference is the other direction's source."""
    runner.checked(SCRIPT, "en-fr", "--from-dir", archives, "--output", "data")
    data = runner.folder / "data"
    arguments = lines(data / "arguments")
    assert arguments[:4] == ["--source-lang", "en", "--target-lang", "fr"]
    assert joined(data / "train.en")[0] == 'Nought one Nought Nought " & so . "'
    assert len(lines(data / "train.fr")) == TRAIN + 2
    expected = [sentence("fr", 1000 + y + k) for y in (2013, 2014, 2015) for k in (0, 1)]
    assert [line.split(' "')[0] for line in joined(data / "valid.fr")] == [
        line.split(' "')[0].replace("L\u2019", "L' ") for line in expected
    ]
    assert lines(data / "original.fr") == [sentence("fr", n) for n in (5000, 5001, 5002)]
    assert "--bpe-codes" in arguments


def test_chinese_is_characters(runner: Runner, archives: Path) -> None:
    runner.checked(SCRIPT, "en-zh", "--from-dir", archives, "--output", "data")
    data = runner.folder / "data"
    assert joined(data / "test.zh")[0] == "\u4e94 \u96f6 \u96f6 \u96f6 \u3002"
    assert lines(data / "original.zh")[0] == "\u4e94\u96f6\u96f6\u96f6\u3002"
    assert "@@" not in "".join(lines(data / "train.zh")[:TRAIN])


def test_sentencepiece(runner: Runner, archives: Path) -> None:
    runner.checked(SCRIPT, "zh-en", "--sentencepiece", "--from-dir", archives)
    data = runner.folder / "data" / "iwslt17.zh-en.sentencepiece"
    assert lines(data / "train.zh")[:TRAIN] == [sentence("zh", n) for n in range(200, 260)]
    assert lines(data / "test.en") == [sentence("en", n) for n in (5000, 5001, 5002)]
    arguments = lines(data / "arguments")
    assert arguments[arguments.index("--vocab-size") + 1] == "10000"
    assert not (data / "original.en").exists()


def test_chinese_scores() -> None:
    """Detokenized without spaces, and scored by sacreBLEU's characters: a translation of which one
    character of ten is wrong would be one wrong word of one by the usual tokenization."""
    reference = "\u5979\u57281987\u5e74\u7528Python\u5199\u4e86\u8fd9\u672c\u4e66\u3002"
    text = "\u5979 \u5728 1987 \u5e74 \u7528 Python \u5199 \u4e86 \u8fd9 \u672c \u4e66 \u3002"
    assert evaluate_text.detokenize([text], "zh") == [reference]
    wrong = text.replace("\u8fd9", "\u90a3")
    scores = evaluate_scores.tokenized_scores([wrong], [text], "zh", [reference])
    assert scores[1].value == pytest.approx(scores[0].value)
    assert 50 < scores[1].value < 100
    assert "tok:zh" in scores[1].signature
    assert "tok:13a" in evaluate_scores.plain_scores(["a"], ["a"], "en")[0].signature


def test_a_killed_run_goes_on_and_gives_the_same(runner: Runner, archives: Path) -> None:
    command = (SCRIPT, "fr-en", "--from-dir", archives, "--output")
    runner.checked(*command, "straight")
    runner.killed(*command, "data", when="get iwslt17-test-en-fr")
    runner.killed(*command, "data", when="tokenize iwslt17.tst2013-2015.en")
    said = runner.checked(*command, "data")
    assert "going on with what an earlier run left" in said
    straight, data = (contents(runner.folder / name) for name in ("straight", "data"))
    for files in (straight, data):
        del files["arguments"]  # the folder's name
    assert data == straight


def altered(pair: str, name: str, old: str, new: str) -> bytes:
    files: dict[str, Any] = {**train_archive(pair), **test_archive(pair)}
    assert old in files[f"{pair}/{name}"]
    return tgz({**files, f"{pair}/{name}": files[f"{pair}/{name}"].replace(old, new, 1)})


@pytest.mark.parametrize(
    ("kind", "pair", "archive", "message"),
    [
        ("train", "fr-en", tgz(train_archive("fr-en"))[:500], "fr-en.tgz"),
        ("test", "en-fr", tgz({"en-fr/README": ""}), "lacks IWSLT17.TED.tst2017.en-fr.en.xml"),
        ("test", "en-fr", tgz({"/etc/evil": "", **test_archive("en-fr")}), "/etc/evil"),
        ("train", "fr-en", tgz({"fr-en/README": ""}), "the archive lacks train.tags.fr-en.fr"),
        (
            *("train", "fr-en"),
            altered("fr-en", "IWSLT17.TED.tst2014.fr-en.fr.xml", "<seg id=", "<sag id="),
            "tst2014.fr-en.fr.xml has 1 segments but IWSLT17.TED.tst2014.fr-en.en.xml has 2",
        ),
    ],
    ids=["truncated", "no test set", "outside", "no training text", "a segment too few"],
)
def test_broken_archives(
    runner: Runner,
    archives: Path,
    tmp_path: Path,
    kind: str,
    pair: str,
    archive: bytes,
    message: str,
) -> None:
    broken = tmp_path / "broken"
    for path, data in contents(archives / "iwslt17").items():
        (broken / "iwslt17" / path).parent.mkdir(parents=True, exist_ok=True)
        (broken / "iwslt17" / path).write_bytes(data)
    (broken / "iwslt17" / kind / f"{pair}.tgz").write_bytes(archive)
    said = runner.refused(SCRIPT, "fr-en", "--from-dir", broken, "--output", "data")
    assert message in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Usage: scripts/prepare_iwslt17.sh"),
        (["fr-de"], "no pair 'fr-de': one side is en, the other one of de fr zh"),
        (["es-en"], "no pair 'es-en'"),
        (["fr-en", "--cache"], "--cache needs a value"),
    ],
)
def test_wrong_usage(runner: Runner, arguments: list[str], message: str) -> None:
    said = runner.misused(SCRIPT, *arguments)
    assert message in said
    assert "Usage: scripts/prepare_iwslt17.sh" in said
