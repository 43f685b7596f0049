"""The command of the benchmark: turns, rows, and contenders that fail."""

from __future__ import annotations

import csv
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import train_step
from benchmarks.processes import OUT_OF_MEMORY, ProcessFailed
from benchmarks.tables import print_table

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def command(csv_file: Path, arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "benchmarks.train_step", "--csv", str(csv_file)]
    words += arguments.split()
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def processes(monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]) -> None:
    """Let those of the contenders answer with this."""
    process = SimpleNamespace(run=run, stop=lambda: None)
    monkeypatch.setattr(train_step, "KeptProcess", lambda: process)


@pytest.mark.parametrize(("flags", "expected"), [([], (7, None)), (["--cpu"], (5, 7))])
def test_memory_of_a_gpu_needs_no_process_of_its_own(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    expected: tuple[int, int | None],
) -> None:
    processes(monkeypatch, lambda *_: ([1.0], [], 7))
    monkeypatch.setattr(train_step, "in_process", lambda *_: ([1.0], [], 5))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    args = Namespace(
        contenders=["R0"], turns=1, steps=1, flags=flags, phases=False, max_tokens=None
    )
    rows = train_step.measure("wmt", args)
    assert [(row.allocated, row.resident) for row in rows] == [expected]
    print_table(rows)
    assert (capsys.readouterr().out.split("|")[-2].strip() == "") == (expected[1] is None)


@pytest.mark.parametrize(("problem", "status"), [(OUT_OF_MEMORY, 0), ("ValueError: x", 1)])
def test_one_that_fails_says_so_in_its_row_and_the_others_go_on(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    problem: str,
    status: int,
) -> None:
    """In its second turn, on the first of two shapes. Too little memory is no fault."""
    turns: list[tuple[str, int]] = []

    def run(_: Any, settings: Any, __: bool) -> Any:
        name, shape = settings[:2]
        turns.append((name, shape.vocabulary))
        if name == "R2" and turns.count(turns[-1]) == 2 and shape.vocabulary < 30_000:
            raise ProcessFailed(problem)
        return [float(len(turns))], [], 7

    processes(monkeypatch, run)
    monkeypatch.setattr(train_step, "in_process", lambda *_: ([1.0], [], 5))
    arguments = "--shape multi30k wmt --contenders R0 R2 R4 --turns 3".split()
    monkeypatch.setattr(sys, "argv", ["train_step", "--csv", str(tmp_path / "x.csv"), *arguments])
    assert train_step.main() == status
    assert len(turns) == 17  # of 18
    rows = {(row["shape"], row["step"]): row for row in read(tmp_path / "x.csv")}
    assert [row["status"] for row in rows.values()] == ["ok", problem, "ok", "ok", "ok", "ok"]
    failed = rows["multi30k", "R2"]
    assert failed["seconds"] == failed["allocated_bytes"] == failed["resident_bytes"] == ""
    assert rows["multi30k", "R4"]["time_over_R2"] == ""
    assert float(rows["multi30k", "R4"]["time_over_R0"]) == pytest.approx(6 / 4)  # medians
    assert f" {problem} |" in capsys.readouterr().out


@pytest.mark.long
def test_the_command_writes_a_table_and_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.csv"
    done = command(
        path,
        "--phases --shape multi30k --max-tokens 256 --contenders R0 R4 --turns 1 --steps 1 "
        "-- --cpu --dropout 0.1",
    )
    assert done.returncode == 0, done.stderr
    rows = read(path)
    assert [row["step"] for row in rows] == ["R0", "R4"]
    ratio = float(rows[1]["seconds"]) / float(rows[0]["seconds"])
    assert float(rows[1]["time_over_R0"]) == pytest.approx(ratio)
    # Of processes of their own: where other tests ran before, their freed memory would be enough.
    assert all(float(row[key]) > 0 for row in rows for key in ("allocated_bytes", "resident_bytes"))
    assert all(float(row["backward_seconds"]) > 0 for row in rows)
    assert rows[1]["time_over_R2"] == ""
    table = [line for line in done.stdout.splitlines() if line.startswith("| multi30k")]
    assert len(table) == 2 and f"{ratio:.2f}" in table[1]


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--lr-drop-hidden-weight=-1", "--lr-drop-hidden-weight"),
        ("--fp-16", "fairseq does not take these flags: --fp-16"),
    ],
)
def test_where_all_contenders_fail_it_ends(tmp_path: Path, flag: str, said: str) -> None:
    done = command(
        tmp_path / "x.csv", f"--shape multi30k wmt --contenders R4 --max-tokens 256 -- {flag}"
    )
    assert done.returncode == 1
    (row,) = read(tmp_path / "x.csv")  # of the first shape
    assert row["step"] == "R4" and said in row["status"] and "killed" not in row["status"]
    assert row["status"] in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--turns 0", "0 is not a whole number of at least 1"),
        ("--max-tokens 0", "0 is not a whole number of at least 1"),
        ("--csv {folder}", "{folder} is a folder, not a file"),
        ("--csv {folder}/file/x.csv", "{folder}/file/x.csv: "),
    ],
)
def test_bad_options_are_refused_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: str,
    said: str,
) -> None:
    (tmp_path / "file").touch()
    words = arguments.format(folder=tmp_path).split()
    monkeypatch.setattr(sys, "argv", ["train_step", *words])
    monkeypatch.setattr(train_step, "measure", lambda *_: pytest.fail("measured"))
    with pytest.raises(SystemExit, match="2"):
        train_step.main()
    assert said.format(folder=tmp_path) in capsys.readouterr().err
