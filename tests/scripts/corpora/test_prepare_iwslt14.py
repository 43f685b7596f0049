"""scripts/prepare_iwslt14.sh, offline, on small archives with the layout of the real ones."""

from __future__ import annotations

import fcntl
import io
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

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

SCRIPT = "prepare_iwslt14.sh"
# The pairs that cleaning drops: more than 1.5 times as many tokens; too long; an empty side.
DROPPED = {
    "de": ["eins zwei", "eins " * 176, ""],
    "es": ["uno dos", "uno " * 176, ""],
    "en": ["one two three four", "one " * 176, "one"],
}
SETS = {"TED.dev2010": 5, "TEDX.dev2012": 3, "TED.tst2010": 4, "TED.tst2011": 2, "TED.tst2012": 6}
TRAIN = 120
SIZES = {"train": 115, "valid": 5, "test": 20}  # every 23rd of 120 pairs goes to valid


def members(other: str, sets: dict[str, int] = SETS) -> dict[str, str]:
    """An archive of IWSLT14; evaluation sets count on from 2000."""
    pair = f"{other}-en"
    files = {}
    for lang in (other, "en"):
        files[f"{pair}/README"] = "IWSLT 2014"
        tags = train_tags(lang, range(TRAIN), "IWSLT14", DROPPED[lang])
        files[f"{pair}/train.tags.{pair}.{lang}"] = tags
        first = 2000
        for name, count in sets.items():
            numbers = range(first, first + count)
            files[f"{pair}/IWSLT14.{name}.{pair}.{lang}.xml"] = xml(lang, numbers)
            first += count
    return files


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the archives and a table of them; Spanish is within an archive of all pairs."""
    folder = tmp_path_factory.mktemp("archives")
    (folder / "de-en.tgz").write_bytes(tgz(members("de")))
    spanish = members("es", {name: n for name, n in SETS.items() if name != "TEDX.dev2012"})
    inner = "2014-01/texts/es/en/es-en.tgz"
    (folder / "2014-01.tgz").write_bytes(tgz({inner: tgz(spanish)}))
    write_table(
        folder,
        {
            "iwslt14-de-en": {"file": "iwslt14/de-en.tgz", "pairs": SIZES},
            "iwslt14-es-en": {"file": "iwslt14/2014-01.tgz", "inner": inner},
        },
    )
    return folder


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return without_binarization(tmp_path_factory.mktemp("copy"))


@pytest.fixture
def runner(archives: Path, scripts: Path, tmp_path: Path) -> Runner:
    return Runner(scripts, archives / "archives.json", tmp_path)


@pytest.fixture(scope="module")
def german(archives: Path, scripts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The texts of de-en as prepare.sh gets them."""
    folder = tmp_path_factory.mktemp("german")
    runner = Runner(scripts, archives / "archives.json", folder)
    runner.checked(SCRIPT, "de-en", "--from-dir", archives, "--output", "data")
    return folder / "data"


def tokens(lang: str, number: int) -> str:
    """The lower-cased, escaped tokens of `sentence`."""
    words = sentence(lang, number).split(' "')[0].lower()
    return f"{words} &quot; &amp; so &quot; ."


def kept(split: str) -> list[int]:
    numbers = range(1, TRAIN + 1)
    return [n - 1 for n in numbers if (n % 23 == 0) == (split == "valid")]


def test_german_english(runner: Runner, archives: Path, tmp_path: Path) -> None:
    """The whole way, to data that fairseq loads; a comma in its path separates nothing."""
    folder = tmp_path / "a, b"
    folder.mkdir()
    runner = Runner(ROOT / "scripts", runner.table, folder)
    runner.checked(SCRIPT, "de-en", "--from-dir", archives)
    data = folder / "data" / "iwslt14.de-en"
    assert sorted(path.name for path in data.parent.iterdir()) == ["iwslt14.de-en"]
    prepared = json.loads((data / "prepare.json").read_text())
    assert (prepared["source_lang"], prepared["target_lang"]) == ("de", "en")
    assert prepared["pretokenized"] is True
    assert prepared["train"]["prefix"] == "iwslt14.train"
    assert prepared["train"]["pairs_kept"] == SIZES["train"]
    assert {n: s["pairs"] for n, s in prepared["subsets"].items()} == {"valid": 5, "test": 20}
    for lang in ("de", "en"):
        assert joined(data / "raw" / f"valid.{lang}") == [tokens(lang, n) for n in kept("valid")]
        assert joined(data / "raw" / f"test.{lang}") == [tokens(lang, n) for n in range(2000, 2020)]
    assert lines(data / "bpecodes")[0] == "#version: 0.2"
    assert loaded(data, "train") == [tokens("en", n) for n in kept("train")]
    assert (data / "dict.de.txt").read_bytes() == (data / "dict.en.txt").read_bytes()


def loaded(data: Path, split: str) -> list[str]:
    """The target sentences of a binarized subset as tokens."""
    from fairseq.tasks.translation import TranslationConfig, TranslationTask

    config = TranslationConfig(
        data=str(data), source_lang="de", target_lang="en", dataset_impl="mmap"
    )
    task = TranslationTask.setup_task(config)
    task.load_dataset(split)
    dataset: Any = task.dataset(split)
    dictionary = task.target_dictionary
    return [dictionary.string(dataset[i]["target"], "subword_nmt") for i in range(len(dataset))]


def test_the_other_direction_is_the_same_data(runner: Runner, archives: Path, german: Path) -> None:
    runner.checked(SCRIPT, "en-de", "--from-dir", archives, "--output", "data")
    there, back = contents(german), contents(runner.folder / "data")
    arguments = back.pop("arguments").decode().split("\n")
    assert arguments[:4] == ["--source-lang", "en", "--target-lang", "de"]
    del there["arguments"]
    assert there == back


def test_bpe_is_learned_on_the_training_pairs_alone(german: Path) -> None:
    from subword_nmt.learn_bpe import learn_bpe

    expected = io.StringIO()
    text = [tokens(lang, number) for lang in ("de", "en") for number in kept("train")]
    learn_bpe(text, expected, 10_000)
    assert (german / "bpecodes").read_text() == expected.getvalue()


def test_spanish(runner: Runner, archives: Path) -> None:
    """The archive lies in another; there is no TEDx set, and no published size."""
    said = runner.checked(SCRIPT, "en-es", "--from-dir", archives, "--output", "data")
    data = runner.folder / "data"
    assert joined(data / "train.es") == [tokens("es", n) for n in kept("train")]
    assert joined(data / "test.es") == [tokens("es", n) for n in range(2000, 2017)]
    assert "train: 115 pairs\n" in said


def test_brazilian_portuguese_is_called_pt(runner: Runner, tmp_path: Path) -> None:
    files = {
        name.replace("es-en", "pt-br-en").replace(".es", ".pt-br"): text
        for name, text in members("es").items()
    }
    inner = "2014-01/texts/pt-br/en/pt-br-en.tgz"
    (tmp_path / "2014-01.tgz").write_bytes(tgz({inner: tgz(files)}))
    entry = {"file": "iwslt14/2014-01.tgz", "inner": inner}
    table = write_table(tmp_path, {"iwslt14-pt-en": entry})
    runner = Runner(runner.scripts, table, runner.folder)
    runner.checked(SCRIPT, "pt-en", "--from-dir", tmp_path, "--output", "data")
    data = runner.folder / "data"
    assert joined(data / "train.pt") == [tokens("es", n) for n in kept("train")]
    assert joined(data / "test.en") == [tokens("en", n) for n in range(2000, 2020)]


def test_sentencepiece_has_the_same_pairs_as_they_were(runner: Runner, archives: Path) -> None:
    runner.checked(SCRIPT, "de-en", "--sentencepiece", "--from-dir", archives)
    data = runner.folder / "data" / "iwslt14.de-en.sentencepiece"
    for split in ("train", "valid"):
        for lang in ("de", "en"):
            assert lines(data / f"{split}.{lang}") == [sentence(lang, n) for n in kept(split)]
    assert lines(data / "test.de") == [sentence("de", n) for n in range(2000, 2020)]
    arguments = lines(data / "arguments")
    assert arguments[arguments.index("--vocab-size") + 1] == "10000"
    assert "--pretokenized" not in arguments


def test_apostrophes_of_the_test_sets_alone_are_made_straight(
    runner: Runner, archives: Path, tmp_path: Path
) -> None:
    """The published preparation does it there, and nowhere else."""
    files = members("de")
    for name in ("train.tags.de-en.en", "IWSLT14.TED.dev2010.de-en.en.xml"):
        files[f"de-en/{name}"] = files[f"de-en/{name}"].replace("& so", "\u2019 so")
    (tmp_path / "de-en.tgz").write_bytes(tgz(files))
    runner.checked(SCRIPT, "de-en", "--from-dir", tmp_path, "--output", "data")
    for name, mark in (("train", "\u2019"), ("test", "&apos;")):
        assert joined(tmp_path / "data" / f"{name}.en")[0].endswith(f"&quot; {mark} so &quot; .")


def test_other_sizes_than_the_published_ones_are_refused(runner: Runner, archives: Path) -> None:
    entry = {"file": "iwslt14/de-en.tgz", "pairs": {**SIZES, "train": 160239}}
    table = write_table(runner.folder, {"iwslt14-de-en": entry})
    runner = Runner(runner.scripts, table, runner.folder)
    said = runner.refused(SCRIPT, "de-en", "--from-dir", archives)
    assert "train 115 instead of 160,239" in said
    assert not (runner.folder / "data" / "iwslt14.de-en").exists()


def test_the_table_has_the_published_sizes() -> None:
    table = json.loads((ROOT / "scripts" / "archives" / "archives.json").read_text())
    sizes = {"train": 160239, "valid": 7283, "test": 6750}
    assert table["iwslt14-de-en"]["pairs"] == sizes
    assert table["iwslt14-de-en"]["size"] == 19_982_877


def without(name: str) -> bytes:
    return tgz({path: text for path, text in members("de").items() if not path.endswith(name)})


def altered(name: str, old: str, new: str) -> bytes:
    files = members("de")
    assert old in files[f"de-en/{name}"]
    return tgz({**files, f"de-en/{name}": files[f"de-en/{name}"].replace(old, new, 1)})


GOOD = tgz(members("de"))


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (GOOD[: len(GOOD) // 2], "truncated|damaged|incomplete"),
        (without("train.tags.de-en.de"), "the archive lacks train.tags.de-en.de"),
        (without("tst2011.de-en.en.xml"), "the archive lacks IWSLT14.TED.tst2011.de-en.en.xml"),
        (
            altered("IWSLT14.TED.tst2011.de-en.en.xml", '<seg id="1">', '<x id="1">'),
            "tst2011.de-en.de.xml has 2 segments but .*tst2011.de-en.en.xml has 1",
        ),
        (
            altered("IWSLT14.TED.tst2011.de-en.en.xml", "  </seg>", ""),
            "tst2011.de-en.en.xml, line 8: a segment without its end",
        ),
        (
            altered("train.tags.de-en.en", "<talkid>1</talkid>\n", "<talkid>1</talkid>\nmore\n"),
            "the two must correspond line by line",
        ),
        (tgz({"../evil": "x", **members("de")}), "evil"),
    ],
    ids=[
        "truncated",
        "no training text",
        "no test set",
        "a segment too few",
        "a segment without its end",
        "a line too many",
        "outside",
    ],
)
def test_broken_archives(runner: Runner, tmp_path: Path, archive: bytes, message: str) -> None:
    (tmp_path / "de-en.tgz").write_bytes(archive)
    said = runner.refused(SCRIPT, "de-en", "--from-dir", tmp_path, "--output", "data")
    assert re.search(message, said), said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["de-en.tgz"]
    assert not (tmp_path.parent / "evil").exists()


def test_a_killed_run_goes_on_and_gives_the_same(
    runner: Runner, archives: Path, german: Path
) -> None:
    command = (SCRIPT, "de-en", "--from-dir", archives, "--output", "data")
    for when in ("read test sets", "tokenize all.en", "learn BPE", "apply BPE to iwslt14.test.en"):
        runner.killed(*command, when=when)
        assert not (runner.folder / "data").exists()
    said = runner.checked(*command)
    assert "going on with what an earlier run left" in said
    assert "tokenize all.de" not in said
    straight, data = contents(german), contents(runner.folder / "data")
    for files in (straight, data):
        del files["arguments"]  # the folder's name
    assert data == straight
    assert not (runner.folder / "data.work").exists()


def test_another_command_starts_afresh_and_a_finished_output_is_kept(
    runner: Runner, archives: Path
) -> None:
    runner.killed(*(SCRIPT, "de-en", "--from-dir", archives, "--output", "data"), when="learn BPE")
    command = (SCRIPT, "de-en", "--sentencepiece", "--from-dir", archives, "--output", "data")
    said = runner.checked(*command)
    assert "going on" not in said
    assert lines(runner.folder / "data" / "train.de")[0] == sentence("de", 0)
    said = runner.refused(*command)
    assert "data exists; choose another --output, or replace it with --force" in said
    assert "get iwslt14" not in said and "data.work" not in said
    # As when a run is killed after the data got its name, and before its files were removed.
    (runner.folder / "data.work").mkdir()
    assert "data.work is of a run that was stopped" in runner.refused(*command)
    runner.checked(*command, "--force")
    assert not (runner.folder / "data.work").exists()
    assert "--force" in lines(runner.folder / "data" / "arguments")


def test_two_runs_do_not_work_in_one_folder(runner: Runner, archives: Path) -> None:
    work = runner.folder / "data.work"
    work.mkdir()
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = runner.refused(SCRIPT, "de-en", "--from-dir", archives, "--output", "data")
    assert "another run is at work in" in said
    assert [path.name for path in work.iterdir()] == ["lock"]


def test_a_folder_of_somebody_elses_is_not_emptied(runner: Runner, archives: Path) -> None:
    work = runner.folder / "data.work"
    work.mkdir()
    (work / "thesis.tex").write_text("years")
    said = runner.refused(SCRIPT, "de-en", "--from-dir", archives, "--output", "data")
    assert f"{work} is in the way" in said
    assert (work / "thesis.tex").read_text() == "years"


def test_sentencepiece_vocabulary_of_ten_thousand(runner: Runner, tmp_path: Path) -> None:
    """The whole way with sentencepiece, on words enough for 10,000 pieces."""
    draw = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    extra = [" ".join("".join(draw.choices(letters, k=9)) for _ in range(8)) for _ in range(400)]
    files = members("de")
    for lang in ("de", "en"):
        files[f"de-en/train.tags.de-en.{lang}"] += "".join(f"{line}\n" for line in extra)
    (tmp_path / "de-en.tgz").write_bytes(tgz(files))
    table = write_table(tmp_path, {"iwslt14-de-en": {"file": "iwslt14/de-en.tgz"}})
    runner = Runner(ROOT / "scripts", table, tmp_path)
    runner.checked(SCRIPT, "en-de", "--sentencepiece", "--from-dir", tmp_path, "--output", "data")
    prepared = json.loads((tmp_path / "data" / "prepare.json").read_text())
    assert (prepared["pretokenized"], prepared["vocab_size"]) == (False, 10_000)
    assert lines(tmp_path / "data" / "raw" / "test.de")[0] == sentence("de", 2000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Usage: scripts/prepare_iwslt14.sh"),
        (["--force"], "no language pair given"),
        (["de"], "'de' is no language pair like de-en"),
        (["de-en", "en-de"], "one language pair only: 'de-en', then 'en-de'"),
        (["de-fr"], "no pair 'de-fr': one side is en"),
        (["en-en"], "no pair 'en-en'"),
        (["de-en", "--mystery"], "unknown option '--mystery'"),
        (["de-en", "--output"], "--output needs a value"),
    ],
)
def test_wrong_usage(runner: Runner, arguments: list[str], message: str) -> None:
    said = runner.misused(SCRIPT, *arguments)
    assert message in said
    assert "Usage: scripts/prepare_iwslt14.sh" in said


@pytest.mark.parametrize("output, taken", [("a:b", "':' for a separator"), ("${x}", "'${' for")])
def test_an_output_that_fairseq_cannot_take_is_refused_at_once(
    runner: Runner, archives: Path, output: str, taken: str
) -> None:
    options = ("--from-dir", archives, "--output", output)
    assert f"fairseq takes {taken}" in runner.refused(SCRIPT, "de-en", *options, status=2)
    assert list(runner.folder.iterdir()) == []


def test_workers_must_be_a_number(runner: Runner) -> None:
    said = runner.refused(SCRIPT, "de-en", "--workers", "two", status=2)
    assert "--workers must be a whole number of at least 1, not 'two'" in said


def test_help(runner: Runner) -> None:
    done = runner.run(SCRIPT, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: scripts/prepare_iwslt14.sh")
