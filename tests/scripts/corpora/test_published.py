"""scripts/corpora/published.sh: what a preparation that is stopped leaves for the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# The second step says that it has begun, and goes on for ever.
PREPARE = """
source scripts/common.sh
source scripts/corpora/output_folders.sh
source scripts/corpora/published.sh
output="$1" force=false download_options=()
open_work of-a-test
step one true
last() { touch "$work/begun"; while :; do sleep 0.1; done; }
"$2" two last
"""


@pytest.mark.parametrize("kind", ["step", "reading_step"])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_is_finished(tmp_path: Path, number: signal.Signals, kind: str) -> None:
    """Sent to all processes, as by Ctrl-C, a closed terminal or a batch system."""
    work = tmp_path / "data[1].work"
    process = subprocess.Popen(
        ["bash", "-euc", PREPARE, "scripts/prepare.sh", str(tmp_path / "data[1]"), kind],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # What the tests themselves were started to ignore (nohup), a shell cannot trap.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )  # fmt: skip
    while not (work / "begun").exists() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, number)
    said = process.communicate()[1]
    assert process.returncode == 128 + number, said
    assert (work / "done.one").exists() and not (work / "done.two").exists()
    assert "the same command goes on from there" in said
