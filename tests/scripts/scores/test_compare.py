"""scripts/compare.sh on files of three lines."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "compare.sh"
REFERENCE = "The cat sat on the mat.\nA dog barks at the gate today.\nIt is raining in the town.\n"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A reference, a perfect translation, a poor one, and one of another length."""
    texts = {
        "ref": REFERENCE,
        "same": REFERENCE,
        "poor": "The cat.\nA dog barks at a gate now.\nRain.\n",
        "short": "The cat sat on the mat.\nA dog barks at the gate today.\n",
        "empty": "",
    }
    paths = {name: tmp_path / f"{name}.txt" for name in texts}
    for name, text in texts.items():
        paths[name].write_text(text)
    return paths


def run(
    *arguments: object, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {key: val for key, val in os.environ.items() if key != "SACREBLEU_SEED"}
    environment = {"VIRTUAL_ENV": "/", **environment, **variables}
    command = [str(SCRIPT), *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_table_signature_and_seed(files: dict[str, Path]) -> None:
    result = run("--reference", files["ref"], "--resamples", 50, files["poor"], files["same"])
    assert result.returncode == 0, result.stderr
    assert f"Baseline: {files['poor']}" in result.stdout
    assert "100.0" in result.stdout  # BLEU of the perfect translation
    assert "bs:50|seed:12345" in result.stdout and "tok:13a" in result.stdout
    assert "50 resamples, seed 12345, 3 sentences" in result.stderr


def test_the_same_command_prints_the_same(files: dict[str, Path]) -> None:
    command = ("--reference", files["ref"], "--resamples", 20, files["poor"], files["same"])
    first, second = (run(*command, SACREBLEU_SEED="7") for _ in range(2))
    assert "seed:7" in first.stdout and first.stdout == second.stdout


def test_equal_translations_are_told(files: dict[str, Path]) -> None:
    """sacreBLEU's p-value of a difference of 0 is its smallest."""
    files["empty"].write_text(files["poor"].read_text())
    command = ("--reference", files["ref"], "--resamples", 10, files["poor"], files["empty"])
    told = f"{files['empty']} has the same translations as {files['poor']}"
    assert told in run(*command).stderr
    assert told not in run(*command[:-1], files["same"]).stderr


def test_a_path_that_awk_takes_for_an_assignment(files: dict[str, Path]) -> None:
    folder = files["ref"].parent / "lr=0.1"
    folder.mkdir()
    files["poor"].rename(folder / "poor.txt")
    command = ("--reference", "ref.txt", "--resamples", 10, "same.txt", "lr=0.1/poor.txt")
    result = run(*command, cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    assert "3 sentences" in result.stderr


def test_tokenize_none_leaves_tokens_alone(files: dict[str, Path]) -> None:
    """13a takes "mat." and "mat ." for the same, none does not; chrF ignores the space."""
    files["short"].write_text(REFERENCE.replace(".", " ."))
    command = ("--reference", files["ref"], "--resamples", 10, files["same"], files["short"])
    apart, as_given = run(*command), run(*command, "--tokenize", "none")
    assert as_given.returncode == 0, as_given.stderr
    assert "tok:none" in as_given.stdout
    # A cell holds score (mean ± interval): 100.0 (100.0 ± 0.0), and there are four cells.
    assert apart.stdout.count("100.0") == 8
    assert as_given.stdout.count("100.0") == 6


@pytest.mark.parametrize(
    ("hypothesis", "message"),
    [
        ("short", "has 2 lines, but"),
        ("empty", "has 0 lines, but"),
        ("missing", "missing.txt: no such file"),
        ("same", "given twice"),
    ],
)
def test_refuses_files_that_do_not_fit(
    files: dict[str, Path], hypothesis: str, message: str
) -> None:
    path = files.get(hypothesis, files["ref"].with_name("missing.txt"))
    result = run("--reference", files["ref"], files["same"], path)
    assert result.returncode == 1 and message in result.stderr
    assert result.stdout == ""


def test_refuses_other_encodings_and_seeds(files: dict[str, Path]) -> None:
    command = ("--reference", files["ref"], files["same"], files["poor"])
    for seed in ("none", "-1", "1.5", "12345678901"):
        result = run(*command, SACREBLEU_SEED=seed)
        assert result.returncode == 1 and f"whole number of at most 9 digits, not '{seed}'" in (
            result.stderr
        )
    files["poor"].write_bytes("Schön.\nA dog.\nRain.\n".encode("latin-1"))
    result = run(*command)
    assert result.returncode == 1 and "poor.txt is not UTF-8: convert it" in result.stderr
    assert "Traceback" not in result.stderr


def test_refuses_an_empty_reference(files: dict[str, Path]) -> None:
    result = run("--reference", files["empty"], files["empty"], files["same"])
    assert result.returncode == 1 and "empty.txt is empty" in result.stderr


def test_a_last_line_without_line_end_counts(files: dict[str, Path]) -> None:
    files["poor"].write_text("a\nb\nc")
    result = run("--reference", files["ref"], "--resamples", 10, files["same"], files["poor"])
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--reference is missing"),
        (["--reference", "r", "one"], "at least two"),
        (["--reference", "r", "--resamples", "0", "a", "b"], "--resamples must be"),
        (["--reference", "r", "--metric", "a", "b"], "unknown option --metric"),
    ],
)
def test_refuses_bad_arguments(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr and "Usage: scripts/compare.sh" in result.stderr
