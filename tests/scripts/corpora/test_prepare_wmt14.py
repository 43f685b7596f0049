"""scripts/prepare_wmt14.sh on small archives of the layout of the public ones, without network."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from scripts.corpora import moses_corpus
from tests.killed import kill_when

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "prepare_wmt14.sh"

LANGS = ("cs", "de", "fr")  # each with English: an archive has more languages than are wanted


def vocabulary(seed: int, size: int) -> list[str]:
    draw = random.Random(seed)
    return [
        "".join(draw.choices("abcdefghijklmnopqrst", k=draw.randint(4, 11))) for _ in range(size)
    ]


WORDS = {lang: vocabulary(seed, 3000) for seed, lang in enumerate(("cs", "de", "fr", "en"))}


def sentences(lang: str, count: int, seed: int, words: int = 30) -> list[str]:
    draw = random.Random(f"{lang} {seed}")
    known = WORDS[lang][:words]
    return [" ".join(draw.choices(known, k=draw.randint(6, 8))) for _ in range(count)]


def text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def sgm(lines: list[str]) -> bytes:
    """A test set as WMT publishes it: segments on lines of their own, "&" as it is."""
    segments = [f'<seg id="{number}">{line}</seg>' for number, line in enumerate(lines, start=1)]
    head = ['<srcset setid="newstest2014" srclang="any">', '<doc docid="a" genre="news">', "<p>"]
    return text([*head, *segments, "</p>", "</doc>", "</srcset>"])


TEST = {
    "de": ["Die Wahl\u2019s \u201eneue\u201c AT&T-Aktie.", "Zwei H\u00e4user"],
    "fr": ["L\u2019\u00e9lection d\u2019hier", "Deux"],
    "en": ["The well-known voter\u2019s \u201cnew\u201d AT&T share.", "Two houses"],
}
ODD = {  # pairs that are dropped or changed, the same in every language but for the last
    "cs": ["", "x " * 251, "a", "kept\x07 here"],
    "de": ["", "x " * 251, "a", "Er sagte: \u201ebehalten\u201c hier \u2013 jetzt"],
    "fr": ["", "x " * 251, "a", "Il dit \u00ab gard\u00e9 \u00bb ici, voil\u00e0"],
    "en": ["alone", "x " * 251, "a b", "He said: \u201ckept\u201d here \u2013 now"],
}


def corpus(lang: str, seed: int, count: int = 40, words: int = 30) -> dict[str, list[str]]:
    return {side: [*sentences(side, count, seed, words), *ODD[side]] for side in (lang, "en")}


def archives() -> dict[str, dict[str, bytes]]:
    """The members of each archive, by its file name."""
    members: dict[str, dict[str, bytes]] = {
        "training-parallel-europarl-v7.tgz": {},
        "training-parallel-commoncrawl.tgz": {},
        "training-parallel-nc-v9.tgz": {},
        "training-parallel-un.tgz": {},
        "training-giga-fren.tar": {},
        "dev.tgz": {},
        "test-full.tgz": {},
    }
    layout = {
        "training-parallel-europarl-v7.tgz": "training/europarl-v7.{}-en",
        "training-parallel-commoncrawl.tgz": "commoncrawl.{}-en",
        "training-parallel-nc-v9.tgz": "training/news-commentary-v9.{}-en",
    }
    for lang in LANGS:
        for seed, (file, name) in enumerate(layout.items()):
            for side, lines in corpus(lang, seed).items():
                members[file][f"{name.format(lang)}.{side}"] = text(lines)
    for side, lines in corpus("fr", 7).items():
        members["training-parallel-un.tgz"][f"un/undoc.2000.fr-en.{side}"] = text(lines)
    # Enough words for 32,000 sentencepiece pieces.
    for side, lines in corpus("fr", 8, count=1200, words=3000).items():
        member = f"giga-fren.release2.fixed.{side}.gz"
        members["training-giga-fren.tar"][member] = gzip.compress(text(lines))
    for lang in (*LANGS, "en"):
        members["dev.tgz"][f"dev/newstest2013.{lang}"] = text(sentences(lang, 5, seed=20))
    for lang in ("de", "fr"):
        for side in ("src", "ref"):
            for name in (lang, "en"):
                file = f"test-full/newstest2014-{lang}en-{side}.{name}.sgm"
                members["test-full.tgz"][file] = sgm([f"{side} {line}" for line in TEST[name]])
    return members


def pack(file: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(file, "w" if file.suffix == ".tar" else "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


class Download:
    """A folder of archives for --from-dir, and a table that knows no sizes of them."""

    def __init__(self, home: Path, members: dict[str, dict[str, bytes]]) -> None:
        self.home, self.files = home, home / "my files"
        self.files.mkdir(parents=True)
        for file, content in members.items():
            pack(self.files / file, content)
        table = json.loads((ROOT / "scripts" / "archives.json").read_text(encoding="utf-8"))
        own = {
            name: {"file": entry["file"], "urls": entry["urls"]}
            for name, entry in table.items()
            if name.startswith("wmt14-")
        }
        (home / "table.json").write_text(json.dumps(own))

    def command(self, pair: str, *extra: str) -> list[str]:
        options = ("--from-dir", str(self.files), "--workers", "1")
        return ["bash", str(SCRIPT), pair, "--output", str(self.home / "a data"), *options, *extra]

    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {
            **os.environ,
            "PATH": path,
            "VIRTUAL_ENV": sys.prefix,
            "OMP_NUM_THREADS": "1",
            "LRDROP_ARCHIVES": str(self.home / "table.json"),
        }

    def run(self, pair: str, *extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(pair, *extra),
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def refused(self, pair: str, *extra: str) -> str:
        """Runs what must be refused; returns the message. There is no output, and the next call
        starts afresh."""
        done = self.run(pair, *extra)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert not (self.home / "a data").exists()
        shutil.rmtree(self.home / "a data.work", ignore_errors=True)
        assert sorted(path.name for path in self.home.iterdir()) == ["my files", "table.json"]
        return done.stderr


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_tokenized_english_german_killed_and_repeated(tmp_path: Path) -> None:
    download = Download(tmp_path, archives())
    data = tmp_path / "a data"
    kill_when("apply BPE to", download.command("en-de"), env=download.environment())
    assert not data.exists()

    done = download.run("en-de")
    assert done.returncode == 0, done.stderr
    assert "going on with what an earlier run left" in done.stderr
    assert "learn BPE" not in done.stderr and "europarl-v7" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a data", "my files", "table.json"]

    record = json.loads((data / "prepare.json").read_text(encoding="utf-8"))
    assert (record["source_lang"], record["target_lang"]) == ("en", "de")
    # of each corpus, the pairs with an empty side, with more than 250 pieces, and 2 : 1 are gone
    assert record["train"]["pairs_kept"] == 3 * 41
    assert record["subsets"]["valid"]["pairs"] == 5
    assert record["subsets"]["test"]["pairs"] == 2
    joined = {lang: lines_of(data / "raw" / f"test.{lang}") for lang in ("de", "en")}
    words = {lang: [line.replace("@@ ", "") for line in lines] for lang, lines in joined.items()}
    # hyphens split, special characters escaped; of the punctuation only the apostrophe is changed
    assert words["en"][0] == (
        "src The well @-@ known voter &apos;s \u201c new \u201d AT &amp; T share ."
    )
    assert words["de"][0] == "ref Die Wahl &apos; s \u201e neue \u201c AT &amp; T @-@ Aktie ."
    assert words["en"][1] == "src Two houses"
    valid = [line.replace("@@ ", "") for line in lines_of(data / "raw" / "valid.de")]
    assert valid == sentences("de", 5, seed=20)
    assert lines_of(data / "original" / "test.de") == [f"ref {line}" for line in TEST["de"]]
    codes = lines_of(data / "bpecodes")
    assert codes[0].startswith("#version") and len(codes) > 100
    # punctuation of the training text is normalized: its words are those of the dictionary
    known = {line.split()[0] for line in lines_of(data / "dict.de.txt")}
    assert "&quot;" in known and "-" in known
    assert not known & {"\u201e", "\u201c", "\u2013"}

    assert "a data exists" in download.run("en-de").stderr
    assert lines_of(data / "bpecodes") == codes


def test_sentencepiece_french_english(tmp_path: Path) -> None:
    download = Download(tmp_path, archives())
    done = download.run("fr-en", "--sentencepiece")
    assert done.returncode == 0, done.stderr
    data = tmp_path / "a data"
    record = json.loads((data / "prepare.json").read_text(encoding="utf-8"))
    assert (record["source_lang"], record["target_lang"]) == ("fr", "en")
    assert record["vocab_size"] == 32000
    assert record["train"]["pairs_kept"] == 4 * 41 + 1201
    # cased, untokenized, as it was: what sacreBLEU's own test set has
    assert lines_of(data / "raw" / "test.fr") == [f"src {line}" for line in TEST["fr"]]
    assert lines_of(data / "raw" / "test.en") == [f"ref {line}" for line in TEST["en"]]
    assert lines_of(data / "raw" / "valid.en") == sentences("en", 5, seed=20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a data", "my files", "table.json"]


def test_broken_archives_are_refused(tmp_path: Path) -> None:
    members = archives()
    europarl, test = "training-parallel-europarl-v7.tgz", "test-full.tgz"
    empty = {"test-full/newstest2014-deen-src.de.sgm": b"<srcset>\n</srcset>\n"}
    more = members[europarl]["training/europarl-v7.de-en.en"] + b"one more\n"
    download = Download(tmp_path, members)

    def replaced(file: str, content: dict[str, bytes], *extra: str) -> str:
        pack(download.files / file, content)
        message = download.refused("de-en", *extra)
        pack(download.files / file, members[file])
        return message

    message = replaced(test, {**members[test], "../evil": b"x"})
    assert test in message and "'../evil', outside of its own folder" in message
    assert not list(tmp_path.rglob("*evil*"))
    message = replaced("dev.tgz", {"dev/newstest2013.de": b"eins\n"})
    assert "dev.tgz holds no dev/newstest2013.en" in message
    assert "newstest2014-deen-src.de.sgm" in replaced(test, {**members[test], **empty})
    message = replaced(
        europarl,
        {**members[europarl], "training/europarl-v7.de-en.en": more},
        "--sentencepiece",
    )
    assert "europarl-v7.de-en.de has 44 lines but" in message and "has 45" in message

    whole = (download.files / "dev.tgz").read_bytes()
    (download.files / "dev.tgz").write_bytes(whole[:-20])
    message = download.refused("de-en")
    assert f"{download.files / 'dev.tgz'} is truncated or altered" in message
    (download.files / "dev.tgz").unlink()
    assert "holds no dev.tgz" in download.refused("de-en")


def test_long_texts_are_counted_and_the_memory_of_words_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = sentences("de", 20, seed=1)
    (tmp_path / "long.de").write_bytes(text(lines))
    moses_corpus.learn_bpe([tmp_path / "long.de"], tmp_path / "codes", 50)
    segment = moses_corpus.segmenter(str(tmp_path / "codes"))
    expected = [segment(line) for line in lines]
    monkeypatch.setattr(moses_corpus, "NOTED_LINES", 8)
    monkeypatch.setattr(moses_corpus, "CACHED_WORDS", 10)
    segment = moses_corpus.segmenter(str(tmp_path / "codes"))
    words = segment.__closure__[0].cell_contents.cache
    sizes = []
    for line, pieces in zip(moses_corpus.counted(tmp_path / "long.de"), expected):
        assert segment(line) == pieces
        sizes.append(len(words))
    assert max(sizes) <= 10 + 8 < len({word for line in lines for word in line.split()})
    notes = capsys.readouterr().err
    assert "long.de: 8 lines" in notes and "long.de: 16 lines" in notes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Usage:"),
        (["en-es"], "no pair 'en-es'"),
        (["de-fr"], "no pair 'de-fr'"),
        (["en-de", "--from-dir"], "--from-dir needs a value"),
        (["en-de", "--bogus"], "unknown option"),
    ],
)
def test_usage(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = subprocess.run(
        ["bash", str(SCRIPT), *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert not list(tmp_path.iterdir())
