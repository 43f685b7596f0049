"""scripts/evaluate.sh: on a tiny model that is trained here, and its text functions one by one.

The task of the model is word for word: source word ``s3`` is target word ``t3``, which the data
writes in two BPE pieces, ``t@@ 3``. A few hundred updates learn it, so a sentence's translation
shows which sentence it belongs to.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts.corpora import prepare_subwords
from scripts.runs import complete_files
from scripts.scores import (
    evaluate_scores,
    evaluate_text,
    generation_flags,
)

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "scripts"

ENVIRONMENT = {"VIRTUAL_ENV": "/", **os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPTS / script), *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def checked(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    result = run(script, *arguments)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result


def sentences(rng: random.Random, count: int) -> list[list[int]]:
    return [[rng.randrange(6) for _ in range(rng.randint(1, 4))] for _ in range(count)]


def write_corpus(prefix: Path, rows: list[list[int]]) -> None:
    for language, template in (("xx", "s{}"), ("yy", "t@@ {}")):
        lines = [" ".join(template.format(word) for word in row) for row in rows]
        Path(f"{prefix}.{language}").write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(data directory, folder of the checkpoints) of the task above; line 6 of test is empty."""
    folder = tmp_path_factory.mktemp("evaluate")
    rng = random.Random(1)
    write_corpus(folder / "train", sentences(rng, 800))
    write_corpus(folder / "valid", sentences(rng, 16))
    test = sentences(rng, 37)
    test[5] = []
    write_corpus(folder / "test", test)
    texts = [word for name in ("train", "valid", "test") for word in (f"--{name}", folder / name)]
    checked(
        "prepare.sh",
        *("--source-lang", "xx", "--target-lang", "yy", *texts, "--pretokenized"),
        *("--output", folder / "data", "--workers", "1"),
    )
    checked(
        "train.sh",
        *(folder / "data", "--method", "plain", "--preset", "multi30k"),
        *("--save-dir", folder / "save", "--", "--encoder-layers", "1", "--decoder-layers", "1"),
        *("--dropout", "0", "--lr", "0.003", "--warmup-updates", "50", "--max-tokens", "512"),
        *("--max-epoch", "30", "--num-workers", "0"),
    )
    return folder / "data", folder / "save"


def accuracy(hypotheses: Path, references: Path) -> float:
    """The share of lines that are equal; both files must have the same number."""
    pairs = zip(hypotheses.read_text().split("\n"), references.read_text().split("\n"), strict=True)
    equal = [hyp == ref for hyp, ref in pairs]
    return sum(equal) / len(equal)


def test_averages_translates_and_scores_in_input_order(trained: tuple[Path, Path]) -> None:
    data, save_dir = trained
    output = save_dir / "averaged_last3.eval"
    result = checked(
        "evaluate.sh",
        *(data, "--save-dir", save_dir, "--average", 3, "--beam", 2),
        *("--", "--max-len-b", "12"),
    )
    assert sorted(path.name for path in output.iterdir()) == [
        "hyp.test.yy",
        "ref.test.yy",
        "scores.test.json",
    ]
    # fairseq translates by length; in any order but the input's few lines would agree.
    assert accuracy(output / "hyp.test.yy", output / "ref.test.yy") > 0.6
    reference = (output / "ref.test.yy").read_text().split("\n")
    assert len(reference) == 38 and reference[5] == "" and "@@" not in "".join(reference)

    scores = json.loads((output / "scores.test.json").read_text())
    assert (scores["subset"], scores["sentences"], scores["beam"]) == ("test", 37, 2)
    names = [Path(part["path"]).name for part in scores["parts"]]
    assert names == ["checkpoint28.pt", "checkpoint29.pt", "checkpoint30.pt"]
    tokenized = scores["scores"][0]
    assert tokenized["title"] == "tokenized BLEU" and "tok:none" in tokenized["signature"]
    assert tokenized["value"] > 50
    assert "tok:13a" in scores["scores"][1]["signature"]
    assert scores["scores"][2]["details"].startswith("chrF2")
    for text in ("test set    test (test), 37 sentences", "beam        2", tokenized["signature"]):
        assert text in result.stdout
    assert f"tokenized BLEU: {tokenized['value']:.2f}" in result.stdout
    assert all(f"{save_dir}/{name} (" in result.stdout for name in names)


def test_a_failed_translation_leaves_no_scores(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, save_dir = trained
    result = run(
        "evaluate.sh",
        *(data, "--checkpoint", save_dir / "checkpoint_best.pt", "--output", tmp_path),
        *("--", "--max-source-positions", "3", "--skip-invalid-size-inputs-valid-test"),
        *("--max-len-b", "4"),
    )
    assert result.returncode == 1
    assert "sentences have no translation" in result.stderr
    assert [path.name for path in tmp_path.glob("[hrs]*")] == []


def test_what_is_too_long_for_the_model_is_said(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """And what is advised works."""
    data, save_dir = trained
    command = (data, "--checkpoint", save_dir / "checkpoint_best.pt", "--output", tmp_path)
    short = ("--", "--max-source-positions", "4", "--max-len-b", "4", "--num-workers", "0")
    refused = run("evaluate.sh", *command, *short)
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    said = refused.stderr.splitlines()[-1]
    assert "tokens, more than the (4, 1024) that the model takes" in said
    assert "cut a long source with --truncate-source" in said
    assert list(tmp_path.iterdir()) == []
    checked("evaluate.sh", *command, *short, "--truncate-source")
    scores = json.loads((tmp_path / "scores.test.json").read_text())
    assert scores["sentences"] == 37 and "--truncate-source" in scores["flags"]


def test_two_runs_with_one_output(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """Each prints scores of its own translations; what is left is all of one of them.

    And a reader that goes away after the first score is no error.
    """
    data, save_dir = trained
    command = ["bash", "-c", 'set -o pipefail; "$0" "$@" | grep -m1 BLEU', str(SCRIPTS)]
    command[3] += "/evaluate.sh"
    command += [str(data), "--checkpoint", str(save_dir / "checkpoint_best.pt")]
    command += ["--output", str(tmp_path), "--", "--num-workers", "0", "--max-len-b"]
    pipe: Any = subprocess.PIPE
    runs = {
        length: subprocess.Popen(
            [*command, length], env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True
        )
        for length in ("1", "12")
    }
    printed = {}
    for length, process in runs.items():
        printed[length], said = process.communicate()
        assert process.returncode == 0 and "error" not in said, said
    values = {length: float(line.split()[-1]) for length, line in printed.items()}
    assert values["12"] > 50 > values["1"]
    names = {"hyp.test.yy", "ref.test.yy", "scores.test.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    scores = json.loads((tmp_path / "scores.test.json").read_text())
    last = scores["flags"].split()[-1]
    assert scores["scores"][0]["value"] == pytest.approx(values[last], abs=0.005)
    longest = max(len(line.split()) for line in (tmp_path / "hyp.test.yy").open())
    assert (longest == 1) == (last == "1")


def test_the_length_penalty_with_the_best_bleu_is_found(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    data, save_dir = trained
    output = tmp_path / "out"
    model = ("--save-dir", save_dir, "--average", "2")
    flags = ("--", "--max-len-b", "12", "--num-workers", "0")
    done = checked(
        "length_penalty.sh", data, *model, "--penalties", "0,1,20", "--output", output, *flags
    )
    found = json.loads((output / "length_penalty.json").read_text())
    scores = {
        penalty: json.loads((output / penalty / "scores.valid.json").read_text())["scores"][0]
        for penalty in ("0", "1", "20")
    }
    assert found["scores"] == {penalty: score["value"] for penalty, score in scores.items()}
    assert found["scores"][found["best"]] == max(found["scores"].values())
    assert len({score["details"] for score in scores.values()}) > 1, "it changes something"
    assert f"\n{found['best']}  <- best" in done.stdout and found["signature"] in done.stdout
    assert done.stdout.endswith(f"for evaluate.sh: -- --lenpen {found['best']}\n")
    assert "length_penalty.sh: length penalty 20\n" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["DATA"], "give --checkpoint FILE, or --save-dir DIR"),
        (["DATA", "--checkpoint", "c", "--penalties", "1,,2"], "numbers with commas between"),
        (["DATA", "--checkpoint", "c", "--", "--lenpen", "2"], "--lenpen cannot be given after"),
    ],
)
def test_refuses_bad_arguments_for_the_length_penalty(arguments: list[str], message: str) -> None:
    result = run("length_penalty.sh", *arguments)
    assert result.returncode == 2
    assert message in result.stderr and "Usage: scripts/length_penalty.sh" in result.stderr


@pytest.fixture
def endless(tmp_path: Path) -> dict[str, str]:
    """An environment in which a translation begins and never ends."""
    program = tmp_path / "bin" / "fairseq-generate"
    program.parent.mkdir()
    program.write_text("#!/bin/bash\necho begun\necho begun >&4\nexec sleep 600\n")
    program.chmod(0o755)
    return {**ENVIRONMENT, "PATH": f"{program.parent}:{ENVIRONMENT['PATH']}"}


def test_ended_while_it_translates(
    trained: tuple[Path, Path], tmp_path: Path, endless: dict[str, str]
) -> None:
    """A signal ends script and translation at once; what a killed one leaves, the next removes."""
    data, save_dir = trained
    output = tmp_path / "out"
    arguments = (data, "--checkpoint", save_dir / "checkpoint_best.pt", "--output", output)
    aside = ("bash", "-c", 'exec 4>&1 >/dev/null; exec "$@"', "-", SCRIPTS / "evaluate.sh")
    for sent in (signal.SIGTERM, signal.SIGKILL):
        process = subprocess.Popen(
            [*aside, *arguments],
            env=endless, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        with process.stdout as stream:
            assert stream.readline() == "begun\n"
            if sent == signal.SIGTERM:
                process.terminate()
            else:
                os.killpg(process.pid, sent)
            assert stream.read() == "", "ends when no process is left that could write"
        assert process.wait() == (143 if sent == signal.SIGTERM else -sent)
        left = [path.name for path in output.iterdir()]
        assert len(left) == (0 if sent == signal.SIGTERM else 1), left
    again = checked("evaluate.sh", *arguments, "--", "--max-len-b", "12", "--num-workers", "0")
    assert f"removing what an earlier run left: {output}/.generate.test." in again.stderr
    names = ["hyp.test.yy", "ref.test.yy", "scores.test.json"]
    assert sorted(path.name for path in output.iterdir()) == names


def test_what_scoring_needs_is_looked_for_before(
    trained: tuple[Path, Path], tmp_path: Path, endless: dict[str, str]
) -> None:
    """Data without their raw text, as after copying the binarized files alone."""
    data, save_dir = trained
    shutil.copytree(data, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "raw")
    command = [SCRIPTS / "evaluate.sh", tmp_path / "data"]
    command += ["--checkpoint", save_dir / "checkpoint_best.pt"]
    done = subprocess.run(command, env=endless, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "data/raw/test.yy does not exist: copy the whole data directory" in done.stderr


def test_an_architecture_of_ones_own(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """Without its --user-dir a sentence says what to add; with it, the average is scored."""
    data, save_dir = trained
    own = tmp_path / "evaluate_test_plugin"
    own.mkdir()
    (own / "__init__.py").write_text(
        "from fairseq.models import register_model, register_model_architecture\n"
        "from lrdrop_fairseq.models.transformer import LRDropTransformer\n"
        "register_model('evaluate_test_own')(type('Own', (LRDropTransformer,), {}))\n"
        "register_model_architecture('evaluate_test_own', 'evaluate_test_own')(lambda a: None)\n"
    )
    state = torch.load(save_dir / "checkpoint30.pt", weights_only=False)
    state["cfg"]["model"]._name = state["cfg"]["model"].arch = "evaluate_test_own"
    torch.save(state, tmp_path / "checkpoint30.pt")
    refused = run("evaluate.sh", data, "--checkpoint", tmp_path / "checkpoint30.pt")
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    message = "checkpoint30.pt: architecture 'evaluate_test_own' is unknown: add the --user-dir"
    assert message in refused.stderr.splitlines()[-1]
    checked(
        "evaluate.sh",
        *(data, "--save-dir", tmp_path, "--average", "1", "--", f"--user-dir={own}"),
        *("--num-workers", "0", "--max-len-b", "12"),
    )
    output = tmp_path / "averaged_last1.eval"
    assert accuracy(output / "hyp.test.yy", output / "ref.test.yy") > 0.6


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A data directory of three pairs, as far as scoring looks at it."""
    contents = {
        "source_lang": "xx",
        "target_lang": "en",
        "pretokenized": True,
        "subsets": {"test": {"prefix": "news", "pairs": 3}},
    }
    (tmp_path / "prepare.json").write_text(json.dumps(contents))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "test.en").write_text("a r@@ ed c@@ ar .\n\nit 's my house .\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no data directory"),
        (["DATA"], "give --checkpoint FILE, or --save-dir DIR"),
        (["DATA", "--average", "3"], "give --checkpoint FILE, or --save-dir DIR"),
        (["DATA", "--checkpoint", "c", "--average", "3"], "either --checkpoint or"),
        (["DATA", "--checkpoint", "c", "--beam", "0"], "--beam must be"),
        (["DATA", "--checkpoint", "c:d"], "--checkpoint 'c:d': fairseq takes ':'"),
        (["DATA", "--checkpoint", "c", "--", "--beam", "4"], "--beam cannot be given after --"),
    ],
)
def test_refuses_bad_arguments(arguments: list[str], message: str) -> None:
    result = run("evaluate.sh", *arguments)
    assert result.returncode == 2
    assert message in result.stderr and "Usage: scripts/evaluate.sh" in result.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--beam=4", "--beam cannot be given after --: use --beam"),
        ("-s de", "-s/--source-lang cannot be given after --: the text and its languages"),
        ("--cpu -tde", "-t/--target-lang cannot be given after --: the text"),
        ("--source-lang=de", "-s/--source-lang cannot be given"),
        ("--source de", "does not take these flags: unrecognized arguments: --source de"),
        ("--score-reference", "--score-reference cannot be given after --: the reference would"),
        ("--prefix-size 1", "--prefix-size cannot be given after --: the reference would"),
        ("--path x", "--path cannot be given after --: use --checkpoint"),
        ("--checkpoint-suffix 1", "--checkpoint-suffix cannot be given after --: the model is"),
        ("--num-shards 2", "--num-shards cannot be given after --: every sentence is scored"),
        ("--constraints", "--constraints cannot be given"),
        ("--remove-bpe", "--remove-bpe/--post-process cannot be given after --: this script reads"),
        ("--nbest 5", "--nbest cannot be given after --: this script reads one raw translation"),
        ("--no-such", "does not take these flags: unrecognized arguments: --no-such"),
        ("other-data", "does not take these flags: unrecognized arguments: other-data"),
        ("--task nothing", "invalid choice: 'nothing'"),
        ("--user-dir /no/where", "--user-dir cannot be imported"),
    ],
)
def test_flags_are_refused_by_what_they_do(
    flags: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["x", "--beam", "one raw translation", *flags.split()]
    monkeypatch.setattr(sys, "argv", arguments)
    assert generation_flags.main() == 0
    said = capsys.readouterr()
    assert message in said.out and said.out.count("\n") == 1 and not said.err


def test_flags_that_change_the_search_are_taken() -> None:
    flags = "--lenpen 0.6 --max-len-b 12 --batch-size 3 --truncate-source --fp16 --cpu"
    generation_flags.check(flags.split(), {**generation_flags.REASONS, **generation_flags.BEAM}, "")
    generation_flags.check(["--beam", "4"], generation_flags.REASONS, "")  # as for summaries


def test_refuses_what_is_not_there(prepared: Path) -> None:
    missing = run("evaluate.sh", prepared / "raw", "--checkpoint", "c.pt")
    assert missing.returncode == 1 and "prepare.json does not exist" in missing.stderr
    subset = run("evaluate.sh", prepared, "--checkpoint", "c.pt", "--subset", "test2")
    assert subset.returncode == 1 and "no subset 'test2': it has test" in subset.stderr
    checkpoint = run("evaluate.sh", prepared, "--checkpoint", prepared / "c.pt")
    assert checkpoint.returncode == 1 and "c.pt: no such checkpoint" in checkpoint.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x{", "prepare.json: not valid JSON"),
        ("", "prepare.json: not valid JSON"),
        ("[]", "prepare.json is not of prepare.sh, or damaged"),
        ('{"source_lang": "de", "target_lang": "en"}', "it must say pretokenized, source_lang"),
    ],
)
def test_refuses_a_damaged_record(prepared: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "prepare.json").write_text(text)
    damaged = run("evaluate.sh", tmp_path, "--checkpoint", "c.pt")
    assert damaged.returncode == 1 and message in damaged.stderr
    assert "Traceback" not in damaged.stderr


def write_generated(folder: Path, lines: list[str]) -> Path:
    path = folder / "generate.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_hypotheses_are_put_in_input_order(tmp_path: Path) -> None:
    """What is no H- line is passed over; U+2028 and the like end no line; a text may be empty."""
    lines = ["S-2\tx", "T-2\ty", "H-2\t-0.1\tc\u2028d", "D-2\t-0.1\tc", "P-2\t-0.1"]
    lines += ["H-0\t-0.5\tH-9\tx", "2020 | INFO | H-1\t0\tno", "H-1\t-0.2\t"]
    generated = write_generated(tmp_path, lines)
    assert evaluate_text.hypotheses(generated, 3) == ["H-9\tx", "", "c\u2028d"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["H-0\t0\ta", "H-2\t0\tc"], "1 of 3 sentences have no translation, .* line 2"),
        ([f"H-{i}\t0\ta" for i in (0, 1, 2, 3)], "line 4 of what .*: sentence 3 was not expected"),
        ([f"H-{i}\t0\ta" for i in (0, 1, 1, 2)], "line 3 of what .*: sentence 1 was not expected"),
    ],
)
def test_every_sentence_once(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(evaluate_text.EvaluationError, match=message):
        evaluate_text.hypotheses(write_generated(tmp_path, lines), 3)


@pytest.mark.parametrize(
    ("pieces", "text"),
    [("kar@@ ate an@@ zug", "karate anzug"), ("", ""), ("cut@@", "cut"), ("a@@b c", "a@@b c")],
)
def test_join_bpe(pieces: str, text: str) -> None:
    assert evaluate_text.join_bpe(pieces) == text


def test_pretokenized_scores(prepared: Path) -> None:
    """The BLEU of tokens worked out by hand, and the detokenized text of both sides.

    Hypothesis and reference have 4 + 0 + 5 = 9 tokens each. "red" is wrong, so 8 of 9 words
    match, 5 of 7 bigrams ("a red", "red car" do not), 3 of 5 trigrams and 2 of 3 of length 4;
    BLEU = 100 (8/9 * 5/7 * 3/5 * 2/3)^(1/4) = 71.0.
    """
    lines = ["H-2\t0\tit 's my h@@ ouse .", "H-1\t0\t", "H-0\t0\ta bl@@ ue car ."]
    generated = write_generated(prepared, lines)
    hyp, ref, scores = evaluate_scores.evaluate(prepared, "test", generated)
    assert hyp == ["a blue car .", "", "it 's my house ."]
    assert ref == ["a red car .", "", "it 's my house ."]
    assert scores[0].title == "tokenized BLEU"
    assert scores[0].value == pytest.approx(100 * (8 / 9 * 5 / 7 * 3 / 5 * 2 / 3) ** 0.25)
    assert "tok:none" in scores[0].signature
    assert evaluate_text.detokenize(hyp, "en") == ["a blue car.", "", "it's my house."]


@pytest.mark.parametrize("space", ["  ", "\u00a0", " \u2028", "\t"])
def test_pieces_are_joined_across_any_white_space(prepared: Path, space: str) -> None:
    """prepare.sh makes one space of it, so that it stands in no piece that a model sees."""
    text = (prepared / "raw" / "test.en").read_text()
    (prepared / "raw" / "test.en").write_text(text.replace("@@ ", f"@@{space}"), encoding="utf-8")
    lines = ["H-2\t0\tit 's my house .", "H-1\t0\t", "H-0\t0\ta r@@ ed c@@ ar ."]
    _, ref, scores = evaluate_scores.evaluate(prepared, "test", write_generated(prepared, lines))
    assert ref == ["a red car .", "", "it 's my house ."]
    assert scores[0].value == pytest.approx(100)


@pytest.mark.parametrize(
    ("tokens", "split"),
    [
        ("a well-known man", "a well ##AT##-##AT## known man"),
        ("x-ray-like", "x ##AT##-##AT## ray ##AT##-##AT## like"),
        ("a-b-c", "a ##AT##-##AT## b-c"),  # as the published script: its matches do not overlap
        ("- no -- yes -", "- no -- yes -"),
        ("", ""),
    ],
)
def test_split_compounds(tokens: str, split: str) -> None:
    assert evaluate_text.split_compounds(tokens) == split


def test_compound_split_bleu(prepared: Path) -> None:
    """Worked out by hand: "a well-known man ." against "a well-paid man .".

    Split, both have 6 tokens: 5 of 6 words match, 3 of 5 pairs ("a well", "well ##AT##-##AT##",
    "man ."), 1 of 4 triples and none of the 3 of length 4, which the exponential smoothing of
    sacreBLEU counts as half a match. Unsplit, 3 of 4 words match and 1 of 3 pairs.
    """
    (prepared / "raw" / "test.en").write_text("\n\na well-paid man .\n")
    lines = ["H-0\t0\t", "H-1\t0\t", "H-2\t0\ta well-@@ known man ."]
    generated = write_generated(prepared, lines)
    scores = evaluate_scores.evaluate(prepared, "test", generated, compound_split=True)[2]
    assert [score.title.split(" (")[0] for score in scores] == [
        "tokenized BLEU",
        "tokenized BLEU, compounds split",
        "sacreBLEU",
        "chrF",
    ]
    expected = 100 * (5 / 6 * 3 / 5 * 1 / 4 * (1 / 2) / 3) ** 0.25
    assert scores[1].value == pytest.approx(expected)
    assert "tok:none" in scores[1].signature
    assert "83.3/60.0/25.0/16.7" in scores[1].details and "75.0/33.3/" in scores[0].details
    assert len(evaluate_scores.evaluate(prepared, "test", generated)[2]) == 3


@pytest.mark.parametrize("language", ["zh", "zh_CN", "zh-Hans", "zho_Hans", "cmn"])
def test_chinese_is_scored_by_characters(prepared: Path, language: str) -> None:
    """By the spaces of the text, 13a would see one wrong word in each sentence; zh sees one
    wrong character: of 6 characters, 5 match."""
    contents: dict[str, Any] = json.loads((prepared / "prepare.json").read_text())
    (prepared / "prepare.json").write_text(json.dumps({**contents, "target_lang": language}))
    (prepared / "raw" / f"test.{language}").write_text("我 喜欢 大 房子\n\n\n")
    lines = ["H-0\t0\t我 喜欢 小 房@@ 子", "H-1\t0\t", "H-2\t0\t"]
    _, _, scores = evaluate_scores.evaluate(prepared, "test", write_generated(prepared, lines))
    assert "tok:zh" in scores[1].signature and "83.3/" in scores[1].details


def test_refuses_what_cannot_be_scored_before_it_translates(prepared: Path) -> None:
    contents: dict[str, Any] = json.loads((prepared / "prepare.json").read_text())
    (prepared / "prepare.json").write_text(json.dumps({**contents, "pretokenized": False}))
    split = run("evaluate.sh", prepared, "--checkpoint", "c.pt", "--compound-split")
    assert split.returncode == 1 and "--compound-split is for tokens" in split.stderr


def test_sentencepiece_scores_are_of_plain_text(prepared: Path) -> None:
    """Pieces become the text again, which equals the untouched reference: both scores are 100.

    Characters that Unicode has a more ordinary form of (NFKC) stay what they are.
    """
    reference = ["A red car stops…", "", "It's my house， ½ of 20 m², says ﬁne Anna！"]
    text = prepared / "raw" / "test.en"
    text.write_text("".join(f"{line}\n" for line in reference))
    model = prepared / "sentencepiece.model"
    described = prepare_subwords.train([text], 40, model)
    assert described["normalization"] == "identity"
    contents: dict[str, Any] = json.loads((prepared / "prepare.json").read_text())
    (prepared / "prepare.json").write_text(json.dumps({**contents, "pretokenized": False}))
    encoded = [" ".join(pieces) for pieces in prepare_subwords.segmenter(model, 1)(reference)]
    lines = [f"H-{index}\t0\t{encoded[index]}" for index in (1, 2, 0)]
    hyp, ref, scores = evaluate_scores.evaluate(prepared, "test", write_generated(prepared, lines))
    assert hyp == ref == reference
    assert [score.title for score in scores] == ["sacreBLEU", "chrF"]
    assert [score.value for score in scores] == [pytest.approx(100), pytest.approx(100)]
    assert "case:mixed" in scores[0].signature and "tok:13a" in scores[0].signature


def test_files_that_belong_together_are_of_one_process(tmp_path: Path) -> None:
    """Eight writers, in each of whose files stands the writer's number."""
    names = [f"file{number}" for number in range(8)]

    def texts(writer: int) -> dict[str, str]:
        return dict.fromkeys(names, f"{writer}\n" * 1000)

    children = []
    for writer in range(8):
        child = os.fork()
        if child == 0:
            for _ in range(10):
                complete_files.write_together(tmp_path, texts(writer))
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    found = {name: (tmp_path / name).read_text() for name in names}
    assert found in [texts(writer) for writer in range(8)]


def test_a_reader_who_has_seen_enough_is_no_error() -> None:
    """As in ``evaluate.sh ... | grep -m1 BLEU``: the results are there, and nothing is said."""
    child = (
        "import sys; sys.path.insert(0, sys.argv[1]); import time\n"
        "from scripts.runs import complete_files\n"
        "sys.stdin.read(); complete_files.say('BLEU ' * 100_000); print('more')"
    )
    command = [sys.executable, "-c", child, str(ROOT)]
    pipe: Any = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == "" and process.wait() == 0
