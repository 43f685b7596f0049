"""The benchmark of one layer by sequence length."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import attention_layer
from benchmarks.attention_layer import Measured, find_longest
from benchmarks.attention_step import Step
from benchmarks.processes import KILLED, OUT_OF_MEMORY, KeptProcess, ProcessFailed


@pytest.mark.parametrize("longest", [256, 700, 1500, 4000, 5000])
@pytest.mark.parametrize("most", [1000, 4096])
def test_the_longest_is_found(monkeypatch: pytest.MonkeyPatch, longest: int, most: int) -> None:
    """To a 1/16 of it, and never one that does not fit or is longer than asked for."""
    monkeypatch.setattr(attention_layer, "_fits", lambda form, length, limit: length <= longest)
    monkeypatch.setattr(attention_layer, "measure", lambda f, t, *_: Measured(f, t, 1.0, 1))
    found = find_longest("dense", 1.0, most, KeptProcess()).length
    expected = min(longest, most)
    assert expected * 15 / 16 <= found <= expected


def test_where_nothing_fits_no_length_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_layer, "_fits", lambda *_: False)
    found = find_longest("dense", 2.0**30, 4096, KeptProcess())
    assert (found.seconds, found.peak, found.status) == (None, None, "not below 1 GiB")


def test_where_memory_ends_before_the_limit_a_length_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process of the trial is killed then, without a word. Another error is no length."""
    problem = KILLED

    def fails(*_: Any) -> None:
        raise ProcessFailed(problem)

    monkeypatch.setattr(attention_layer, "in_process", fails)
    assert not attention_layer._fits("dense", 512, 2.0**40)
    problem = "ValueError: a mistake"
    with pytest.raises(ProcessFailed, match="a mistake"):
        attention_layer._fits("dense", 512, 2.0**40)


@pytest.mark.long
def test_what_needs_far_more_than_the_limit_ends_before_it_takes_it() -> None:
    """The maps of 2,048 tokens alone are more than 0.5 GiB. The limit is one of the process."""
    with KeptProcess() as process:
        assert process.run(attention_layer._peak, "dense", 2048, 2**27) is None


def test_another_error_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*_: Any) -> None:
        raise ProcessFailed("ValueError: a mistake")

    monkeypatch.setattr(attention_layer, "in_process", fails)
    command = ["attention_layer", "--csv", str(tmp_path / "layer.csv"), "--longest", "1"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match="^attention_layer: error: ValueError: a mistake$"):
        attention_layer.main()


def test_both_forms_do_the_same_work() -> None:
    gradients = []
    for form in ("dense", "blockwise"):
        step = Step(form, 40)
        step.run()
        gradients.append(step.inputs.grad)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_what_does_not_fit_is_a_line_and_no_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are measured, and it is no fault; another error is one."""
    problems = {("dense", 64): OUT_OF_MEMORY, ("blockwise", 64): "", ("dense", 32): "ValueError: x"}

    def run(_: Any, function: Any, form: str, length: int, *more: int) -> Any:
        if problems.get((form, length)):
            raise ProcessFailed(problems[form, length])
        return 2**30 if function is attention_layer._peak else 0.5

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(attention_layer, "in_process", run)
    path = tmp_path / "layer.csv"
    command = ["attention_layer", "--csv", str(path), "--length"]
    monkeypatch.setattr(sys, "argv", [*command, "64"])
    assert attention_layer.main() == 0
    monkeypatch.setattr(sys, "argv", [*command, "32", "64"])
    assert attention_layer.main() == 1
    with open(path, newline="") as file:
        rows = [(r["form"], r["length"], r["seconds"], r["status"]) for r in csv.DictReader(file)]
    assert rows == [
        ("dense", "32", "", "ValueError: x"), ("blockwise", "32", "0.5", "ok"),
        ("dense", "64", "", OUT_OF_MEMORY), ("blockwise", "64", "0.5", "ok"),
    ]  # fmt: skip
    assert "| dense     | 64  | out of memory |" in capsys.readouterr().out


@pytest.mark.long
def test_a_process_that_is_kept_measures_as_on_a_gpu() -> None:
    with KeptProcess() as process:
        for length in (32, 64):
            seconds, peak = process.run(attention_layer._seconds_and_peak, "dense", length, 1)
            assert seconds > 0 and peak > 0
