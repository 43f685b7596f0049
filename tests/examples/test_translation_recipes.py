"""The recipes of examples/translation: what they run, in which order, with which arguments.

A recipe runs in a copy of its folder beside stand-ins for the scripts that it calls, which write
their arguments down; the last test runs one with the scripts themselves. What a recipe gives
fairseq-train is held in test_configs.py.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted(
    path.stem
    for path in (ROOT / "examples" / "translation").glob("*_*.sh")
    if path.stem.startswith(("iwslt", "wmt"))
)

# Writes its name and arguments, one line a call; prepare_* makes the data directory; the script in
# $FAILS fails.
STAND_IN = """#!/usr/bin/env bash
printf '%s' "$(basename "$0")" >>"$CALLS"
printf ' [%s]' "$@" >>"$CALLS"
echo >>"$CALLS"
if [[ "$(basename "$0")" == "${FAILS:-}" ]]; then exit 3; fi
if [[ "$1" != *-* || "${2:-}" != --output ]]; then exit 0; fi
mkdir -p "$3"
tokens=true
if [[ " $* " == *" --sentencepiece "* ]]; then tokens=false; fi
made='{"source_lang": "%s", "target_lang": "%s", "pretokenized": %s}'
printf "$made" "${1%-*}" "${1#*-}" "$tokens" >"$3/prepare.json"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The recipes as they are, with stand-ins in scripts/; a folder with a space in its name."""
    root = tmp_path / "a checkout"
    shutil.copytree(
        ROOT / "examples" / "translation",
        root / "examples" / "translation",
        ignore=shutil.ignore_patterns("demo"),
    )
    (root / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "common.sh", root / "scripts")
    names = ["prepare_iwslt14", "prepare_iwslt17", "prepare_wmt14", "train", "evaluate"]
    for name in names:
        script = root / "scripts" / f"{name}.sh"
        script.write_text(STAND_IN)
        script.chmod(0o755)
    return root


def run(
    checkout: Path, recipe: str, *arguments: str, fails: str = ""
) -> subprocess.CompletedProcess[str]:
    """A recipe in a folder of the user's, beside the checkout."""
    folder = checkout.parent / "work"
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [str(checkout / "examples" / "translation" / f"{recipe}.sh"), *arguments],
        cwd=folder,
        env={**os.environ, "VIRTUAL_ENV": "/", "CALLS": str(folder / "calls"), "FAILS": fails},
        capture_output=True,
        text=True,
    )


def calls(checkout: Path) -> list[str]:
    """What was called since the last time, one line each."""
    path = checkout.parent / "work" / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_six_data_sets() -> None:
    assert RECIPES == [
        *("iwslt14_en_de", "iwslt14_en_es", "iwslt17_en_fr", "iwslt17_en_zh"),
        *("wmt14_en_de", "wmt14_en_fr"),
    ]


@pytest.mark.parametrize("recipe", RECIPES)
def test_usage(checkout: Path, recipe: str) -> None:
    without = run(checkout, recipe)
    assert without.returncode == 2 and calls(checkout) == []
    direction = "-".join(recipe.split("_")[1:])
    assert f"Usage: examples/translation/{recipe}.sh DIRECTION" in without.stderr
    listed = next(line for line in without.stderr.splitlines() if line.startswith("  DIRECTION "))
    assert direction in listed.split(maxsplit=1)[1].split(" or ")
    assert "no direction given" in without.stderr
    assert run(checkout, recipe, "--help").returncode == 0
    other = run(checkout, recipe, "en-xx")
    assert other.returncode == 2 and f"{direction}" in other.stderr and "'en-xx'" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["de-en", "en-de"], "one direction only"),
        (["de-en", "--method", "dropout"], "--method is plain, rdrop or lrdrop"),
        (["de-en", "--seed", "0"], "--seed must be"),
        (["de-en", "--lr", "1"], "unknown option --lr"),
        (["de-en", "--from-dir"], "--from-dir needs a value"),
    ],
)
def test_refuses_bad_arguments(checkout: Path, arguments: list[str], message: str) -> None:
    result = run(checkout, "iwslt14_en_de", *arguments)
    assert result.returncode == 2 and message in result.stderr and calls(checkout) == []


BLEU = (
    '[--eval-bleu] [--eval-bleu-args] [{"beam": 5, "max_len_a": 1.2, "max_len_b": 10}]'
    " [--eval-bleu-remove-bpe] [%s] [--eval-bleu-detok] [%s]"
    " [--best-checkpoint-metric] [bleu] [--maximize-best-checkpoint-metric]"
)


def test_a_signal_reaches_what_a_recipe_runs(checkout: Path) -> None:
    train = checkout / "scripts" / "train.sh"
    train.write_text(
        "#!/usr/bin/env bash\n"
        "trap 'echo ended >>\"$CALLS\"; exit 143' TERM\n"
        'echo begun >>"$CALLS"\nwhile :; do sleep 0.1; done\n'
    )
    path = checkout.parent / "calls"
    recipe = checkout / "examples" / "translation" / "iwslt14_en_de.sh"
    process = subprocess.Popen(
        [recipe, "en-de"], cwd=checkout.parent, stderr=subprocess.DEVNULL,
        env={**os.environ, "VIRTUAL_ENV": "/", "CALLS": str(path)},
    )  # fmt: skip
    while not (path.exists() and "begun" in path.read_text()) and process.poll() is None:
        time.sleep(0.01)
    process.terminate()
    assert process.wait() == 143
    assert path.read_text().endswith("begun\nended\n")


def test_from_data_to_score(checkout: Path) -> None:
    assert run(checkout, "iwslt14_en_de", "de-en").returncode == 0
    saved = "checkpoints/iwslt14.de-en/lrdrop-seed1"
    assert calls(checkout) == [
        "prepare_iwslt14.sh [de-en] [--output] [data/iwslt14.de-en]",
        "train.sh [data/iwslt14.de-en] [--method] [lrdrop] [--preset] [iwslt] [--seed] [1]"
        f" [--save-dir] [{saved}] [--] " + BLEU % ("@@ ", "moses"),
        f"evaluate.sh [data/iwslt14.de-en] [--beam] [5] [--checkpoint] [{saved}/checkpoint_best.pt]"
        " [--compound-split] [--] [--lenpen] [1]",
    ]


def test_the_same_command_again_keeps_the_data(checkout: Path) -> None:
    names = [
        [line.split()[0] for line in calls(checkout)]
        for _ in range(2)
        if run(checkout, "wmt14_en_fr", "en-fr").returncode == 0
    ]
    assert names == [["prepare_wmt14.sh", "train.sh", "evaluate.sh"], ["train.sh", "evaluate.sh"]]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [(["en-de"], "en-de with tokens"), (["de-en", "--sentencepiece"], "de-en with sentencepiece")],
)
def test_data_of_another_direction_or_with_other_subwords_are_refused(
    checkout: Path, arguments: list[str], wanted: str
) -> None:
    assert run(checkout, "iwslt14_en_de", "de-en", "--data", "own").returncode == 0
    assert len(calls(checkout)) == 3
    refused = run(checkout, "iwslt14_en_de", *arguments, "--data", "own")
    assert refused.returncode == 1 and calls(checkout) == []
    assert f"own was prepared for de-en with tokens, not for {wanted}" in refused.stderr


def test_averages_and_searches_as_published_for_wmt(checkout: Path) -> None:
    assert run(checkout, "wmt14_en_de", "en-de", "--method", "rdrop").returncode == 0
    _, train, evaluate = calls(checkout)
    assert "[--preset] [wmt]" in train and "--eval-bleu" not in train
    assert evaluate == (
        "evaluate.sh [data/wmt14.en-de] [--beam] [4] [--save-dir]"
        " [checkpoints/wmt14.en-de/rdrop-seed1] [--average] [10] [--compound-split]"
        " [--] [--lenpen] [0.6]"
    )


def test_options_reach_the_scripts(checkout: Path) -> None:
    arguments = ["--method", "plain", "--seed", "7", "--data", "d d", "--save-dir", "s s"]
    arguments += ["--cache", "c c", "--from-dir", "f f", "--", "--max-update", "2 2"]
    assert run(checkout, "iwslt17_en_zh", "zh-en", *arguments).returncode == 0
    prepare, train, evaluate = calls(checkout)
    assert prepare == (
        "prepare_iwslt17.sh [zh-en] [--output] [d d] [--cache] [c c] [--from-dir] [f f]"
    )
    assert train.startswith(
        "train.sh [d d] [--method] [plain] [--preset] [iwslt] [--seed] [7] [--save-dir] [s s] [--] "
    )
    # The user's flags come last, so they overrule the recipe's.
    assert train.endswith("[--update-freq] [2] [--max-update] [2 2]")
    assert evaluate.startswith("evaluate.sh [d d] [--beam] [5] [--checkpoint] [s s/checkpoint_best")


@pytest.mark.parametrize(
    ("recipe", "direction", "join_bpe", "detokenizer"),
    [
        ("iwslt17_en_fr", "en-fr", "sentencepiece", "space"),
        # By fairseq's tokenization a Chinese sentence is one word: its pieces are scored.
        ("iwslt17_en_zh", "en-zh", "none", "space] [--eval-tokenized-bleu"),
        ("iwslt17_en_zh", "zh-en", "sentencepiece", "space"),
    ],
)
def test_sentencepiece(
    checkout: Path, recipe: str, direction: str, join_bpe: str, detokenizer: str
) -> None:
    assert run(checkout, recipe, direction, "--sentencepiece").returncode == 0
    prepare, train, _ = calls(checkout)
    name = f"iwslt17.{direction}.sentencepiece"
    assert prepare.endswith(f"[--output] [data/{name}] [--sentencepiece]")
    assert f"[--save-dir] [checkpoints/{name}/lrdrop-seed1]" in train
    assert BLEU % (join_bpe, detokenizer) in train


def test_no_compounds_to_split_in_sentencepiece_data(checkout: Path) -> None:
    assert run(checkout, "iwslt14_en_de", "en-de", "--sentencepiece").returncode == 0
    assert "--compound-split" not in calls(checkout)[2]


@pytest.mark.parametrize(
    ("fails", "called"),
    [("prepare_iwslt14.sh", 1), ("train.sh", 2), ("evaluate.sh", 3)],
)
def test_a_failure_ends_the_recipe(checkout: Path, fails: str, called: int) -> None:
    assert run(checkout, "iwslt14_en_es", "es-en", fails=fails).returncode == 3
    assert len(calls(checkout)) == called


def tgz(path: Path, members: dict[str, str]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))


def words(language: str, numbers: Iterable[int]) -> list[str]:
    """A sentence for each number: a letter of the language before its digits."""
    return [" ".join(language[0] + digit for digit in str(number)) for number in numbers]


def test_from_the_archive_to_the_score(tmp_path: Path) -> None:
    """Nothing is replaced but the archive, which is small, and the size of the model."""
    members = {}
    for language in ("de", "en"):
        text = "".join(f"{line}\n" for line in words(language, range(1000, 1300)))
        members[f"de-en/train.tags.de-en.{language}"] = text
        for start, name in enumerate(("dev2010", "tst2010", "tst2011", "tst2012")):
            segments = words(language, range(2000 + 3 * start, 2003 + 3 * start))
            lines = [f'<seg id="{i}"> {line} </seg>\n' for i, line in enumerate(segments, start=1)]
            members[f"de-en/IWSLT14.TED.{name}.de-en.{language}.xml"] = "".join(lines)
    tgz(tmp_path / "de-en.tgz", members)
    # The published archive's checksum and sizes are not those of this one.
    table = {"iwslt14-de-en": {"file": "de-en.tgz", "urls": []}}
    (tmp_path / "archives.json").write_text(json.dumps(table))
    sizes = ["encoder-embed-dim", "decoder-embed-dim", "encoder-ffn-embed-dim"]
    flags = [word for name in sizes for word in (f"--{name}", "8")] + ["--decoder-ffn-embed-dim=8"]
    done = subprocess.run(
        [str(ROOT / "examples" / "translation" / "iwslt14_en_de.sh"), "de-en", "--from-dir", "."]
        + ["--", "--max-update", "2", "--num-workers", "0", *flags],
        cwd=tmp_path,
        env={
            "VIRTUAL_ENV": "/",
            **os.environ,
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "LRDROP_ARCHIVES": str(tmp_path / "archives.json"),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    evaluated = tmp_path / "checkpoints/iwslt14.de-en/lrdrop-seed1/checkpoint_best.eval"
    scores = json.loads((evaluated / "scores.test.json").read_text())
    assert (scores["sentences"], scores["beam"]) == (12, 5)
    assert [score["title"].split(" (")[0] for score in scores["scores"]] == [
        *("tokenized BLEU", "tokenized BLEU, compounds split", "sacreBLEU", "chrF")
    ]
    assert scores["parts"][0]["num_updates"] in (1, 2)
    reference = (evaluated / "ref.test.en").read_text().splitlines()
    assert reference == words("en", range(2000, 2012))
    # Every 23rd pair of the training text chooses the checkpoint, by BLEU.
    log = (tmp_path / "checkpoints/iwslt14.de-en/lrdrop-seed1/train.log").read_text()
    assert f"valid de-en {300 // 23} examples" in log
    assert re.search(r"valid on 'valid' subset \|.*\| bleu \d", log)
