"""scripts/moses_text.py, moses_corpus.py and parallel_lines.py: tokens, cleaning, BPE, processes.

The expected tokens are what Moses' Perl scripts print for the same lines (Moses of March 2021, Perl
5.36): the cases are those in which sacremoses prints something else, and one of each other rule.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fairseq.data.encoders.moses_tokenizer import MosesTokenizer, MosesTokenizerConfig

from scripts.corpora import moses_cleaning, moses_text, parallel_lines, prepare_text
from tests import warm
from tests.scripts.corpora.line_functions import dying, failing

ROOT = Path(__file__).resolve().parents[3]
RUN_MODULE = ROOT / "scripts" / "runs" / "run_module.py"
MOSES_CORPUS = (sys.executable, str(RUN_MODULE), "scripts.corpora.moses_corpus")
Steps = moses_text.Steps


@pytest.mark.parametrize(
    ("steps", "options"),
    [
        ({}, {"moses_no_dash_splits": True}),  # IWSLT14
        ({"no_escape": True}, {"moses_no_dash_splits": True, "moses_no_escape": True}),  # IWSLT17
        ({"aggressive": True}, {}),  # WMT14
    ],
)
def test_fairseq_tokenizes_raw_text_the_same(
    steps: dict[str, bool], options: dict[str, bool]
) -> None:
    """With the options that docs/checkpoints.md names for ``from_pretrained``."""
    line = "It's a \"well-known\" e-mail, isn't it?"
    fairseq = MosesTokenizer(MosesTokenizerConfig(source_lang="en", **options))
    assert fairseq.encode(line) == moses_text.tokenizer(Steps("en", **steps))(line)


@pytest.mark.parametrize(
    ("lang", "line", "tokens"),
    [
        ("en", "It's Mr. Smith's, isn't it?", "It &apos;s Mr. Smith &apos;s , isn &apos;t it ?"),
        ("en", "Read C U B S.", "Read C U B S ."),
        ("en", "in the U.S.A. today", "in the U.S.A. today"),
        ("en", "in the U.S.A.", "in the U.S.A ."),
        ("en", "No. 5, no. five", "No. 5 , no. five"),
        ("en", '[a] & <b> | "c"', "&#91; a &#93; &amp; &lt; b &gt; &#124; &quot; c &quot;"),
        ("en", "5,000 km..., well-known", "5,000 km ... , well-known"),
        ("en", "a\u0301\u00a0b\x1fc \u00bd", "a \u0301 bc \u00bd"),
        ("de", "z.B. am 3. Mai usw. Und", "z.B. am 3. Mai usw. Und"),
        ("de", "Nummer\u00a028.", "Nummer 28 ."),
        ("fr", "l'homme d\u2019or", "l&apos; homme d \u2019 or"),
        ("es", "\u00bfQu\u00e9 'tal'?", "\u00bf Qu\u00e9 &apos; tal &apos; ?"),
        ("ru", "\u042f, \u043c. \u0438", "\u042f , \u043c. \u0438"),
        ("ar", "\u0643\u0650\u062a\u0627\u0628", "\u0643\u0650\u062a\u0627\u0628"),
        ("en", "\uc5b4\u30a2.", "\uc5b4\u30a2 ."),
        ("en", "", ""),
    ],
)
def test_tokens_are_those_of_perl(lang: str, line: str, tokens: str) -> None:
    assert moses_text.tokenizer(Steps(lang))(line) == tokens


@pytest.mark.parametrize(
    ("steps", "line", "tokens"),
    [
        (Steps("en", aggressive=True), "well-known - a-b-c", "well @-@ known - a @-@ b @-@ c"),
        (Steps("en", no_escape=True), "it's [a]", "it 's [ a ]"),
        (Steps("en", lowercase=True), "\u0130S \u039f\u03a3 IT", "i\u0307s \u03bf\u03c3 it"),
        (Steps("en", straight_apostrophes=True), "it\u2019s \u2018a", "it &apos;s \u2018 a"),
        (Steps("de", normalize=True), "\u201eJa.\u201c", "&quot; Ja &quot; ."),
        (Steps("en", normalize=True), "\u201cYes\u201d, 6\u00a07", "&quot; Yes , &quot; 6.7"),
        (Steps("en", normalize=True), "6\u00a0\u096a", "6 \u096a"),
        (Steps("en", normalize=True), "a\u00adb\u200bc\ufeffd", "a b c d"),
        (Steps("en", normalize=True), "the \u201990s", "the &quot; 90s"),
        (
            Steps("en", replace_punctuation=True, normalize=True),
            "the \u201990s\u3001\u2026",
            "the &apos; 90s , ...",
        ),
    ],
)
def test_steps(steps: Any, line: str, tokens: str) -> None:
    assert moses_text.tokenizer(steps)(line) == tokens


def test_chinese_is_characters_and_its_punctuation_stays() -> None:
    tokenize = moses_text.tokenizer(Steps("zh", replace_punctuation=True, normalize=True))
    tokens = tokenize("\u5979\u57281987\u5e74\uff0c\u5199\u4e86Python\u4e66\u3002\u200b")
    assert tokens == "\u5979 \u5728 1987 \u5e74 \uff0c \u5199 \u4e86 Python \u4e66 \u3002"


def test_chinese_characters_are_those_that_sacrebleu_separates() -> None:
    from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

    # Not surrogates, which are no characters, and not U+2000 to U+2A6D, which it takes for Chinese
    # because two characters of five digits are written with four in its table.
    for code in (*range(0x80, 0x2000), *range(0x2A6E, 0xD800), *range(0xE000, 0x10000)):
        expected = TokenizerZh._is_chinese_char(chr(code))
        assert bool(moses_text.CHINESE.fullmatch(chr(code))) == expected, hex(code)


@pytest.mark.parametrize("lang", ["fi", "ca"])
def test_a_language_without_its_rules_is_refused(lang: str) -> None:
    with pytest.raises(prepare_text.TextError, match=f"rules for the language '{lang}'"):
        moses_text.tokenizer(Steps(lang))


def tokens(count: int) -> str:
    return " ".join(["w"] * count)


@pytest.mark.parametrize(
    ("source", "target", "stays"),
    [
        (1, 1, True),
        (0, 1, False),
        (2, 3, True),  # 1.5 is not more than 1.5
        (3, 2, True),
        (2, 4, False),
        (7, 11, False),
        (175, 175, True),
        (176, 170, False),
        (170, 176, False),
    ],
)
def test_kept(source: int, target: int, stays: bool) -> None:
    assert moses_cleaning.kept(tokens(source), tokens(target), 1.5, 175) is stays


def test_words_of_more_than_a_thousand_characters_are_dropped() -> None:
    assert moses_cleaning.kept("a b", f"c {'d' * 1000}", 1.5, 175)
    assert not moses_cleaning.kept("a b", f"c {'d' * 1001}", 1.5, 175)


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MOSES_CORPUS, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    return path


def test_clean_writes_single_spaces_and_the_numbers_of_the_lines(tmp_path: Path) -> None:
    write(tmp_path / "in.de", ["a  b", "c", " ", "d\u00a0e f", "g"])
    write(tmp_path / "in.en", [" A B ", "C C C", "X", "D E", "G"])
    done = command(
        *("clean", "--langs", "de", "en", "--ratio", "1.5", "--max", "3"),
        *("--retained", tmp_path / "numbers", tmp_path / "in", tmp_path / "out"),
    )
    assert (done.returncode, done.stdout) == (0, '{"read": 5, "kept": 3}\n')
    assert (tmp_path / "out.de").read_text() == "a b\nd e f\ng\n"
    assert (tmp_path / "out.en").read_text() == "A B\nD E\nG\n"
    assert (tmp_path / "numbers").read_text() == "1\n4\n5\n"


def test_clean_leaves_nothing_behind_when_it_fails(tmp_path: Path) -> None:
    write(tmp_path / "in.de", ["a", "b"])
    write(tmp_path / "in.en", ["a"])
    done = command(
        *("clean", "--langs", "de", "en", "--ratio", "1.5", "--max", "3"),
        *(tmp_path / "in", tmp_path / "out"),
    )
    assert done.returncode == 1
    assert "in.de has 2 lines but" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.de", "in.en"]


def test_bpe_is_that_of_subword_nmt(tmp_path: Path) -> None:
    """Learned on both texts together, on a corpus that one can count by hand: 'l o' occurs 7 times
    and is the most frequent pair, then 'lo w</w>' is, 4 times."""
    write(tmp_path / "a", ["low low lower"])
    write(tmp_path / "b", ["low low lone slot"])
    codes = tmp_path / "codes"
    assert command("learn-bpe", "--merges", 2, codes, tmp_path / "a", tmp_path / "b").stderr == ""
    assert codes.read_text() == "#version: 0.2\nl o\nlo w</w>\n"
    done = command("apply-bpe", "--codes", codes, tmp_path / "b", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text() == "low low lo@@ n@@ e s@@ lo@@ t\n"


def test_bpe_says_when_the_text_has_fewer_merges(tmp_path: Path) -> None:
    write(tmp_path / "a", ["low low"])
    done = command("learn-bpe", "--merges", 9, tmp_path / "codes", tmp_path / "a")
    assert "allows 2 merges of 9" in done.stderr
    write(tmp_path / "a", ["", ""])
    done = command("learn-bpe", "--merges", 9, tmp_path / "none", tmp_path / "a")
    assert done.returncode == 1
    assert "no words to learn BPE from" in done.stderr
    assert not (tmp_path / "none").exists()


def text(count: int) -> list[str]:
    return [f"Line {number}, it's {number * number}." for number in range(count)]


def test_the_result_does_not_depend_on_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """More batches than workers, the last one not full; then fewer batches than workers."""
    monkeypatch.setattr(parallel_lines, "BATCH_LINES", 10)
    lines = text(57)
    tokenize = moses_text.tokenizer(Steps("en", lowercase=True))
    expected = [tokenize(line) for line in lines]
    make = (moses_text.tokenizer, (Steps("en", lowercase=True),))
    assert list(parallel_lines.map_lines(*make, lines, 1)) == expected
    assert list(parallel_lines.map_lines(*make, lines, 2)) == expected
    assert list(parallel_lines.map_lines(*make, lines[:15], 3)) == expected[:15]
    assert list(parallel_lines.map_lines(*make, [], 2)) == []


def test_a_worker_s_error_is_raised_here_after_the_lines_before_its_batch() -> None:
    size = parallel_lines.BATCH_LINES
    lines = map_numbers(3 * size)
    results = parallel_lines.map_lines(failing, (str(size + 3),), lines, 2)
    assert [next(results) for _ in range(size)] == map_numbers(size)
    with pytest.raises(ValueError, match=f"line {size + 3}"):
        next(results)


def test_a_worker_that_is_killed_is_an_error() -> None:
    with pytest.raises(OSError, match="a worker process ended early"):
        list(parallel_lines.map_lines(dying, ("",), map_numbers(parallel_lines.BATCH_LINES), 2))


def map_numbers(count: int) -> list[str]:
    return list(map(str, range(count)))


def test_input_is_not_read_far_ahead() -> None:
    """A corpus does not fit into memory: at most a batch per worker, and one more, is held."""
    read = 0

    def lines() -> Any:
        nonlocal read
        for number in range(20 * parallel_lines.BATCH_LINES):
            read += 1
            yield str(number)

    results = parallel_lines.map_lines(failing, ("none",), lines(), 2)
    next(results)
    assert read <= 3 * parallel_lines.BATCH_LINES
    results.close()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux' /proc")
def test_workers_leave_when_the_main_process_is_killed(tmp_path: Path) -> None:
    source = write(tmp_path / "in", 50 * text(parallel_lines.BATCH_LINES))
    arguments = ["tokenize", "--lang", "en", "--workers", "2", str(source), str(tmp_path / "out")]
    main = subprocess.Popen([*MOSES_CORPUS, *arguments], env=warm.own_process())
    # Two workers, and multiprocessing's own helper.
    group = wait_for(lambda: found if len(found := children(main.pid)) >= 2 else None)
    main.kill()
    main.wait()
    wait_for(lambda: not any(map(runs, group)))
    assert not (tmp_path / "out").exists()


def children(parent: int) -> list[int]:
    found = map(int, (folder.name for folder in Path("/proc").glob("[0-9]*")))
    return [pid for pid in found if (fields := stat(pid)) and int(fields[1]) == parent]


def runs(pid: int) -> bool:
    """Not if it is a zombie: many a container has no process 1 that sees to orphans."""
    return bool(fields := stat(pid)) and fields[0] != "Z"


def stat(pid: int) -> list[str]:
    """State, parent and so on, as proc(5) has them; nothing of a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


def wait_for(condition: Any) -> Any:
    """The condition's value as soon as it is true; fails after a minute."""
    for _ in range(600):
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError("waited for a minute in vain")
