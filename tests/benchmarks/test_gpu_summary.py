"""The tables of a run on a GPU, also of one that went wrong or is not over."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import gpu_summary
from benchmarks.tables import write_lines
from lrdrop_fairseq.criterions.label_smoothed_cross_entropy import (
    LRDropLabelSmoothedCrossEntropyConfig,
)


def summary(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> str:
    monkeypatch.setattr(sys, "argv", ["gpu_summary", str(folder)])
    assert gpu_summary.main() == 0
    return capsys.readouterr().out


def cells(output: str, *first: str) -> list[str]:
    """Of the table's line that begins with these cells: the others."""
    lines = [[c.strip() for c in line.split("|")[1:-1]] for line in output.splitlines()]
    return next(line[len(first) :] for line in lines if tuple(line[: len(first)]) == first)


def test_ratios_and_what_is_in_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def step(shape: str, name: str, seconds: float, gib: float) -> dict[str, object]:
        row = {"shape": shape, "precision": "fp16", "step": name, "status": "ok"}
        return row | {"seconds": seconds, "peak_bytes": gib * 2**30}

    rows = [step("wmt", "R0", 0.1, 2), step("wmt", "R1f", 0.2, 3), step("wmt", "R4", 0.25, 3)]
    rows += [step("wmt", "R2", 0.5, 12), step("wmt", "R0f", 0.08, 2)]
    rows += [step("iwslt", "R0", 0.1, 2), step("iwslt", "R4", 0.3, 3)]
    rows += [{"shape": "iwslt", "precision": "fp16", "step": "R2", "status": "out of memory"}]
    rows += [{"shape": "multi30k", "precision": "fp16", "step": "R4", "status": "ValueError: no"}]
    (tmp_path / "parts.tsv").write_text("steps\tout of time\t60\n")
    write_lines(tmp_path / "steps.csv", rows)
    output = summary(tmp_path, monkeypatch, capsys)
    assert cells(output, "wmt", "fp16") == [
        "0.2500", "1.36", "2.50", "1.25", "0.50", "3.00", "0.25"
    ]  # fmt: skip
    missing = "R2: out of memory"
    assert cells(output, "iwslt", "fp16") == ["0.3000", "", "3.00", "", missing, "3.00", missing]
    problem = "ValueError: no"
    assert cells(output, "multi30k", "fp16") == [problem, "", "", "", "", problem, ""]
    figures = "7 ok, 1 out of memory, 1 ValueError: no"
    assert cells(output, "steps") == ["out of time", "60", figures]


def test_the_largest_deviation_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    row = {"architecture": "lr_drop_bart", "precision": "fp32", "status": "ok"}
    numbers = {"loss_deviation": 1e-7, "output_deviation": 4e-6, "gradient_deviation": 2e-5}
    rows: list[dict[str, object]] = [row | numbers, row | numbers]
    rows[1] |= {"precision": "bf16", "status": "deviates"}
    rows.append(row | numbers | {"precision": "fp16", "overflows": 3})
    rows.append(row | {"precision": "amp", "status": "the process was killed"})
    (tmp_path / "parts.tsv").write_text("precisions\tfailed\t9\n")
    write_lines(tmp_path / "precisions.csv", rows)
    output = summary(tmp_path, monkeypatch, capsys)
    fine = "4e-06; 2e-05"
    expected = [fine, f"deviates: {fine}", f"{fine} (overflows: 3)", "the process was killed"]
    assert cells(output, "lr_drop_bart") == expected


def test_figures_of_tests_and_attention(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "tests.log").write_text(
        "tests/a.py::test_one[--fp16] PASSED     [ 20%]\n"
        "tests/a.py::test_two[x y] FAILED [ 40%]\n"
        "tests/b.py::test_three SKIPPED (needs a CUDA device) [ 60%]\n"
        "tests/b.py::test_four PASSED\n"
        "E       AssertionError: PASSED\n"
        "FAILED tests/a.py::test_two[x y] - AssertionError: PASSED\n"
        "tests/b.py::test_five "
    )
    layer = {"form": "dense", "length": 512, "seconds": 0.2, "peak_bytes": 300, "status": "ok"}
    rows: list[dict[str, object]] = [layer, layer | {"form": "blockwise", "seconds": 0.1}]
    rows += [row | {"length": 4096, "peak_bytes": 100 * n} for n, row in enumerate(rows, 3)]
    rows.append({"form": "dense", "length": 8192, "status": "out of memory"})
    rows.append(layer | {"form": "blockwise", "length": 8192})
    write_lines(tmp_path / "attention.csv", rows)
    (tmp_path / "parts.tsv").write_text("tests\tout of time\t50\nattention\tok\t20\n")
    output = summary(tmp_path, monkeypatch, capsys)
    assert cells(output, "tests")[2] == "2 passed, 1 failed, 0 error, 1 skipped"
    expected = "blockwise/dense at T = 4096: time 0.50, memory 1.33"
    assert cells(output, "attention")[2] == expected


def test_another_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_summary", str(tmp_path)])
    assert gpu_summary.main() == 2 and "usage" in capsys.readouterr().err


def test_a_whole_training_is_one_with_the_default_start() -> None:
    assert gpu_summary.START == LRDropLabelSmoothedCrossEntropyConfig.lr_drop_start
