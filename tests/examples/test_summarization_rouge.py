"""ROUGE and the paired bootstrap over it, on numbers that can be checked by hand."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode

from examples.summarization import compare_rouge, evaluate_rouge, rouge
from scripts.corpora import prepare_text

ROOT = Path(__file__).resolve().parents[2]
SUMMARIZATION = ROOT / "examples" / "summarization"


def test_scores_worked_out_by_hand() -> None:
    """Reference: the cat sat. | dogs bark. Hypothesis: dogs barked. | the cat slept.

    With stems "barked" is "bark": 4 words of 5 agree in both directions (the, cat, dogs, bark).
    Bigrams of the text as a whole: "dogs bark", "the cat" of 4. Sentence by sentence (Lsum) the
    longest common subsequences are "the cat" and "dogs bark", 4 words of 5, although the order of
    the sentences differs.
    """
    scores = rouge.score([["Dogs barked.", "The cat slept."]], [["The cat sat.", "Dogs bark."]])
    assert scores.shape == (1, 3, 3)
    assert scores[0, 0] == pytest.approx([4 / 5] * 3)
    assert scores[0, 1] == pytest.approx([2 / 4] * 3)
    assert scores[0, 2] == pytest.approx([4 / 5] * 3)


def test_words_of_other_languages_are_of_all_letters() -> None:
    """By rouge-score's own words a perfect Russian summary has 0, and Brücke is br and cke."""
    russian, german, chinese = ["Собака спит."], ["Die Brücke öffnet heute."], ["狗在睡觉。"]
    for text in (russian, german, chinese):
        assert rouge.score([text], [text])[0, 0] == pytest.approx([1] * 3)
        assert rouge.settings([text])["stemmer"] == "none"
    assert rouge.score([["Der Brüder öffnete."]], [german])[0, 0].max() == 0
    # two of four characters
    assert rouge.score([["狗在吃饭。"]], [chinese])[0, 0] == pytest.approx([1 / 2] * 3)
    assert rouge.Words().tokenize("我买了2023年iPhone手机。") == [
        *"我买了", "2023", "年", "iphone", *"手机"
    ]  # fmt: skip
    assert rouge.Words().tokenize("コーヒーを 飲む हिन्दी") == [*"コーヒーを飲む", "हिन्दी"]
    mostly_english = [
        "The café is closed.",
        *["It opens again at noon, when the cook is there."] * 3,
    ]
    assert rouge.settings([mostly_english])["stemmer"] == "Porter"


def test_sentences_matter_to_lsum_on_both_sides() -> None:
    """The same words in another order, once with the sentences of one side, once of the other:
    sentence by sentence all 4 agree; text with text only 2 in a row do."""
    apart, together = ["The cat.", "Dogs bark."], ["Dogs bark the cat."]
    for hypothesis, reference in ((together, apart), (apart, together)):
        assert rouge.score([hypothesis], [reference])[0, 2] == pytest.approx([1, 1, 1])
    assert rouge.score([["The cat dogs bark."]], [together])[0, 2] == pytest.approx([1 / 2] * 3)


def test_precision_recall_and_f1_are_in_this_order() -> None:
    """ "a b" for "a b c d": all of it is right, half is there, F1 is 2/3; nothing for no text."""
    scores = rouge.score([["alpha beta"], []], [["alpha beta gamma delta"], ["alpha"]])
    assert scores[0, 0] == pytest.approx([1, 1 / 2, 2 / 3])
    assert not scores[1].any()


def test_sentences(tmp_path: Path) -> None:
    """Abbreviations end no sentence. A reference has tabs where the corpus knew its sentences."""
    text = "Mr. Smith paid $3.5m. He left at 5 p.m. on Friday! Why?"
    assert rouge.Sentences()(text) == [
        "Mr. Smith paid $3.5m.",
        "He left at 5 p.m. on Friday!",
        "Why?",
    ]
    assert rouge.Sentences()("") == []
    path = tmp_path / "ref"
    path.write_text("One .\tTwo. Still two .\nThree. Still three .\n\n")
    assert rouge.read_references(path) == [
        ["One .", "Two. Still two ."],
        ["Three. Still three ."],
        [],
    ]
    path.write_text("Three. Four.\n")
    assert rouge.read_references(path) == [["Three.", "Four."]]
    with pytest.raises(prepare_text.TextError, match="has 1 lines, but the reference has 2"):
        rouge.read_hypotheses(path, 2)


def test_decoding_puts_a_summary_on_one_line(tmp_path: Path) -> None:
    """Bytes become text again; symbols that are no tokens stand for nothing."""
    (tmp_path / "gpt2").mkdir()
    symbols = {symbol: number for number, symbol in enumerate(bytes_to_unicode().values())}
    (tmp_path / "gpt2" / "encoder.json").write_text(json.dumps(symbols))
    (tmp_path / "gpt2" / "vocab.bpe").write_text("#version\n")
    order = list(bytes_to_unicode())
    tokens = [str(order.index(byte)) for byte in " caf\u00e9\nau  lait\u2028!".encode()]
    lines = [" ".join([tokens[0], "<unk>", *tokens[1:], "madeupword0001"]), ""]
    assert evaluate_rouge.decode(tmp_path, lines) == ["caf\u00e9 au lait !", ""]


def test_the_last_of_a_flag_counts() -> None:
    words = "--beam 4 --fp16 --lenpen 2.0 --beam=6 --lenpen -1.0".split()
    assert evaluate_rouge.flags(words) == {"beam": "6", "fp16": "", "lenpen": "-1.0"}


def test_bootstrap_of_equal_systems_and_of_a_constant_gain() -> None:
    scores = np.random.default_rng(0).random((50, 3))
    same = compare_rouge.compare(scores, scores, 200, 1)
    assert not same.mean.any() and not same.low.any() and (same.p_value == 1).all()
    # Each document gains 0.1, so every test set drawn does: the smallest p that 200 can show.
    gain = compare_rouge.compare(scores, scores + 0.1, 200, 1)
    assert gain.mean == pytest.approx([0.1] * 3)
    assert gain.low == pytest.approx([0.1] * 3) and gain.high == pytest.approx([0.1] * 3)
    assert gain.p_value == pytest.approx([1 / 201] * 3)


def test_bootstrap_has_the_spread_of_the_mean() -> None:
    """For many documents the 95 % interval is the mean +- 1.96 standard errors, and p that of the
    normal distribution: differences of mean 1.96 s / sqrt(n) have p = 0.05."""
    difference = np.random.default_rng(0).normal(size=(2000, 1))
    difference = (difference - difference.mean()) / difference.std() + 1.96 / 2000**0.5
    result = compare_rouge.compare(np.zeros_like(difference), difference, 20000, 3)
    error = 1 / 2000**0.5
    assert result.low / error == pytest.approx(0, abs=0.08)
    assert result.high / error == pytest.approx(3.92, abs=0.08)
    assert result.p_value == pytest.approx(0.05, abs=0.007)


def test_resampling_is_paired_and_repeatable() -> None:
    """One seed draws the same test sets for all scores: means of sums are sums of means."""
    first, second = np.random.default_rng(1).random((2, 30, 2))
    drawn = compare_rouge.resampled_means(first, 700, 5)
    assert drawn.shape == (700, 2)
    both = compare_rouge.resampled_means(first + second, 700, 5)
    np.testing.assert_allclose(both, drawn + compare_rouge.resampled_means(second, 700, 5))
    assert not np.allclose(drawn, compare_rouge.resampled_means(first, 700, 6))


def run_compare(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(SUMMARIZATION / "compare.sh"), *map(str, arguments)]
    environment = {"VIRTUAL_ENV": "/", **os.environ}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_compare_prints_a_table(tmp_path: Path) -> None:
    (tmp_path / "ref").write_text("The cat sat.\tDogs bark.\nRain fell.\n")
    (tmp_path / "good").write_text("The cat sat. Dogs bark.\nRain fell.\n")
    (tmp_path / "poor").write_text("The cat. Birds sing.\nSnow fell.\n")
    files = [tmp_path / name for name in ("ref", "poor", "good")]
    result = run_compare("--reference", *files, "--resamples", 100, "--seed", 7)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    # ROUGE-1 of the poor one: 2 of 4 words are right, and 2 of 5 are there; 1 of 2.
    poor = 100 * (2 * 0.5 * 0.4 / 0.9 + 0.5) / 2
    assert lines[1] == [str(files[1]), f"{poor:.2f}"]
    assert lines[2][:3] == [str(files[2]), "100.00", f"{100 - poor:+.2f}"]
    assert "2 documents; paired bootstrap (Koehn 2004)" in result.stdout
    assert "100 resamples, seed 7" in result.stdout and "rouge-score" in result.stdout
    (tmp_path / "poor").write_text("One line.\n")
    short = run_compare("--reference", *files)
    assert short.returncode == 1 and "has 1 lines, but the reference has 2" in short.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "--reference is missing"),
        (["--reference", "r", "one"], 2, "at least two files"),
        (["--reference", "r", "--seed", "x", "a", "b"], 2, "--seed must be"),
        (["--reference", "/none", "a", "b"], 1, "/none: no such file"),
    ],
)
def test_compare_refuses(arguments: list[str], status: int, message: str) -> None:
    result = run_compare(*arguments)
    assert result.returncode == status and message in result.stderr
