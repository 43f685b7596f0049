"""What the benchmarks say about the machine, and how they count its memory."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import machine
from benchmarks.machine import bytes_in_use, describe_machine, peak_bytes, start_over
from benchmarks.processes import in_process


@pytest.mark.parametrize(
    ("nvidia_smi", "expected"),
    [
        (None, "unknown (no nvidia-smi)"),
        ("echo 570.1; echo 570.1", "570.1"),
        ("echo no devices; exit 6", "unknown (Command "),
    ],
)
def test_the_driver_is_named_where_it_can_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nvidia_smi: str | None, expected: str
) -> None:
    if nvidia_smi is not None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{nvidia_smi}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    properties = type("Properties", (), {"total_memory": 80 * 2**30})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    found = describe_machine()
    assert found["GPU"] == "A GPU, 80 GiB" and found["CUDA"] == str(torch.version.cuda)
    assert found["driver"].startswith(expected)


def test_the_description_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "machine.json"
    monkeypatch.setattr(sys, "argv", ["machine", str(path)])
    machine.main()
    assert json.loads(path.read_text()) == describe_machine()
    assert torch.__version__ in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="this kernel resets no peak"
)
def test_the_peak_is_that_since_the_start_over() -> None:
    start_over(cuda=False)
    before = bytes_in_use(cuda=False)
    torch.ones(2**26)  # 256 MiB of floats, freed at once
    assert peak_bytes(before, cuda=False) > 2**27
    start_over(cuda=False)
    assert peak_bytes(bytes_in_use(cuda=False), cuda=False) < 2**26


def taken_by_freed_memory() -> int:
    """Bytes that the process still takes of tensors of 1 MiB, every second of which is freed."""
    before = bytes_in_use(cuda=False)
    tensors = [torch.ones(2**18) for _ in range(64)]
    del tensors[::2]
    return bytes_in_use(cuda=False) - before


def test_freed_memory_is_not_counted_where_it_is_said_so() -> None:
    """glibc gives back what lies between memory in use only if each is a mapping of its own."""
    freed_later = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
    kept = in_process(freed_later, taken_by_freed_memory)
    assert in_process(machine.EXACT, taken_by_freed_memory) < 0.75 * kept
