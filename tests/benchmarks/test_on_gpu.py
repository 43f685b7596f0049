"""benchmarks/on_gpu.sh: what it refuses, its parts on a CPU, and parts that go wrong."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.killed import assert_ended

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "on_gpu.sh"
PARTS = ["machine", "precisions", "tests", "steps", "attention"]

# A python in which the parts are over at once, except what $FAILING and $HANGING name.
FAKE = f"""#!/bin/bash
case " $* " in
    *benchmarks.gpu_summary*|*" -c "*) exec {sys.executable} "$@" ;;
esac
if [[ -n "$FAILING" && "$*" == *"$FAILING"* ]]; then echo "it is broken here"; exit 3; fi
if [[ -n "$HANGING" && "$*" == *"$HANGING"* ]]; then
    echo $BASHPID >"$RECORD"
    sleep 500
fi
"""


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """One in which every python is the one above."""
    fake = folder / "bin" / "python"
    fake.parent.mkdir()
    fake.write_text(FAKE)
    fake.chmod(0o755)
    path = f"{fake.parent}{os.pathsep}{os.environ['PATH']}"
    changed = {"PATH": path, "VIRTUAL_ENV": os.environ.get("VIRTUAL_ENV", str(folder))}
    known = {"FAILING": "", "HANGING": "", "RECORD": str(folder / "record")}
    return {**os.environ, **changed, **known, **variables}


def run(*arguments: object, env: Any = None) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def parts(folder: Path) -> dict[str, str]:
    """The status of each part, in their order."""
    lines = (folder / "parts.tsv").read_text().splitlines()
    return {name: status for name, status, _ in (line.split("\t") for line in lines)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes"], "--minutes needs a value"),
        (["--minutes", "0"], "--minutes must be a whole number"),
        (["--device", "tpu"], "--device is cuda or cpu, not 'tpu'"),
        (["--output", "--smoke"], "--output needs a value"),
        (["build"], "unknown argument build"),
    ],
)
def test_wrong_usage_is_refused(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2 and not result.stdout
    assert message in result.stderr and "Usage: benchmarks/on_gpu.sh" in result.stderr


def test_help() -> None:
    result = run("--help")
    assert result.returncode == 0 and result.stdout.startswith("Usage: benchmarks/on_gpu.sh")


def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    result = run("--output", tmp_path / "out", env=hidden)
    assert result.returncode == 1 and "no CUDA device" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_all_parts_run_on_a_cpu(tmp_path: Path) -> None:
    folder = tmp_path / "with spaces"
    result = run("--device", "cpu", "--smoke", "--output", folder)
    assert result.returncode == 0, result.stderr
    assert parts(folder) == dict.fromkeys(PARTS, "ok")
    assert json.loads((folder / "machine.json").read_text())["torch"] in result.stdout

    rows = read(folder / "precisions.csv")
    assert len(rows) == 5 * 3
    for row in rows:
        on_a_cpu = row["precision"] != "amp"
        assert row["status"] == ("ok" if on_a_cpu else "not on a CPU")
        assert not on_a_cpu or 0 <= float(row["gradient_deviation"]) < 0.03
    assert " 0 passed, 0 failed, 0 error, " in result.stdout
    assert "test_on_a_gpu[--fp16-dtype1-1] SKIPPED" in (folder / "tests.log").read_text()

    steps = {
        (row["shape"], row["precision"], row["step"]): row for row in read(folder / "steps.csv")
    }
    assert len(steps) == 2 * 2 * 5 and {row["status"] for row in steps.values()} == {"ok"}
    ours, other = (float(steps["wmt", "bf16", step]["seconds"]) for step in ("R4", "R2"))
    line = next(x for x in result.stdout.splitlines() if x.startswith("| wmt") and "bf16" in x)
    assert f" {ours / other:.2f} " in line
    assert [row["form"] for row in read(folder / "attention.csv")] == ["dense", "blockwise"]
    # The last line is that of the last part.
    assert result.stdout.splitlines()[-1].startswith("| attention ")


def test_a_part_that_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    fake = environment(tmp_path, FAILING="-m pytest")
    folder = tmp_path / "out"
    result = run("--device", "cpu", "--output", folder, env=fake)
    assert result.returncode == 1
    assert parts(folder) == {**dict.fromkeys(PARTS, "ok"), "tests": "failed"}
    assert "tests: failed" in result.stderr and "it is broken here" in result.stderr
    assert result.stderr.splitlines()[-1].endswith("not all parts came to their end: tests")
    assert [line.split()[1] for line in result.stdout.splitlines()[-5:]] == PARTS

    # What the next run does not have is not taken for its own.
    (folder / "steps.csv").write_text("shape\nold\n")
    fake["FAILING"] = ""
    result = run("--device", "cpu", "--output", folder, env=fake)
    assert result.returncode == 0, result.stderr
    assert parts(folder) == dict.fromkeys(PARTS, "ok") and not (folder / "steps.csv").exists()


def test_a_part_that_takes_too_long_is_ended_and_the_others_go_on(tmp_path: Path) -> None:
    """8 % of a minute less ten seconds."""
    fake = environment(tmp_path, HANGING="benchmarks.machine")
    folder = tmp_path / "out"
    result = run("--device", "cpu", "--minutes", 1, "--output", folder, env=fake)
    assert result.returncode == 1
    assert parts(folder) == {**dict.fromkeys(PARTS, "ok"), "machine": "out of time"}
    assert result.stderr.splitlines()[-1].endswith("not all parts came to their end: machine")
    assert_ended(int((tmp_path / "record").read_text()))


def test_a_signal_ends_the_part_too_and_nothing_of_an_earlier_run_is_shown(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "steps.csv").write_text("shape\nold\n")
    fake = environment(tmp_path, HANGING="benchmarks.precisions")
    command = [str(SCRIPT), "--device", "cpu", "--output", str(tmp_path / "out")]
    process = subprocess.Popen(command, env=fake, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "record").exists() and process.poll() is None:
        time.sleep(0.05)
    process.terminate()
    _, errors = process.communicate()
    assert process.returncode == 1 and "stopped" in errors and "benchmarks.gpu_summary" in errors
    assert parts(tmp_path / "out") == {"machine": "ok"}
    assert not (tmp_path / "out" / "steps.csv").exists()
    assert_ended(int((tmp_path / "record").read_text()))
