"""scripts/runs/training.sh: what the scripts that train say of a published batch, and a device."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# Or bash warns of a locale that the machine lacks.
ENVIRONMENT = {**os.environ, "LC_ALL": "C"}
NOTE = """
source scripts/common.sh; source scripts/runs/training.sh
devices="$1" processes="$2" extra=("${@:3}")
note_published_batch 4 16
"""


@pytest.mark.parametrize(
    ("devices", "processes", "extra", "said"),
    [
        (4, 1, [], ""),
        (1, 1, [], "of 4 devices, here are 1: '-- --update-freq 64' makes up for it"),
        (3, 1, [], "here are 3: '-- --update-freq 22'"),
        (0, 1, [], "here are 1: '-- --update-freq 64'"),  # no GPU
        (8, 2, [], "here are 2: '-- --update-freq 32'"),  # two processes with a GPU each
        (1, 1, ["--lr", "1", "--update-freq", "9"], ""),
        (1, 1, ["--update-freq=9"], ""),
    ],
)
def test_the_published_batch(devices: int, processes: int, extra: list[str], said: str) -> None:
    command = ["bash", "-euc", NOTE, "train.sh", str(devices), str(processes), *extra]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert said in done.stderr and bool(done.stderr) == bool(said)


DEVICE = """
source scripts/common.sh; source scripts/runs/training.sh
has_cuda() { true; }
processes=1 extra=("${@:2}")
find_device ${1:+"$1"}
echo "${device_flags[*]}"
"""


@pytest.mark.parametrize(
    ("model", "extra", "flags"),
    [
        ("a large model", [], "--fp16"),
        ("a large model", ["--cpu-offload", "--lr", "1"], "--fp16"),
        ("", [], ""),
        *[("a large model", ["--lr", "1", flag], "") for flag in ("--cpu", "--amp", "--bf16")],
        ("a large model", ["--memory-efficient-bf16", "--lr", "1"], ""),
    ],
)
def test_half_precision_on_a_gpu_unless_something_else_is_asked_for(
    model: str, extra: list[str], flags: str
) -> None:
    command = ["bash", "-euc", DEVICE, "train.sh", model, *extra]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, flags), done.stderr
