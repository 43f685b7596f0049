"""What runs in a process of its own takes nothing else along when it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.processes import OUT_OF_MEMORY, KeptProcess, ProcessFailed, in_process
from tests.killed import assert_ended


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(text: str) -> None:
    raise RuntimeError(text)


def test_a_process_is_kept_until_a_function_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with KeptProcess() as process:
        first = process.run(os.getpid)
        assert process.run(os.getpid) == first != os.getpid()
        with pytest.raises(ProcessFailed, match="^RuntimeError: CUDA error: an assert$"):
            process.run(fail, "CUDA error: an assert\nCompile with advice")
        assert "in fail" in capfd.readouterr().err  # where it happened
        second = process.run(os.getpid)
        assert second != first
        with pytest.raises(ProcessFailed, match="was killed"):
            process.run(kill)
        assert process.run(os.getpid) not in (first, second)


PARENT = """
import os, time
from benchmarks.processes import KeptProcess
if __name__ == "__main__":
    with KeptProcess() as process:
        print(process.run(os.getpid), flush=True)
        time.sleep(500)
"""


def test_one_whose_parent_is_killed_ends_too(tmp_path: Path) -> None:
    """With all the memory that it has on the GPU."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    parent = subprocess.Popen([sys.executable, script], env=environment, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    assert_ended(child)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 40.00 GiB. GPU 0 has a total capacity of 79 GiB",
        "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you "
        "tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)",
    ],
)
def test_out_of_memory_is_told_from_other_errors(text: str) -> None:
    with pytest.raises(ProcessFailed) as found:
        in_process({}, fail, text)
    assert str(found.value) == OUT_OF_MEMORY


def test_the_environment_is_that_of_the_process_alone() -> None:
    assert in_process({"LR_DROP_TEST": "here"}, os.getenv, "LR_DROP_TEST") == "here"
    assert "LR_DROP_TEST" not in os.environ
