"""tests/warm: a command that a fork runs cannot be told from one that a new interpreter runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests import warm

LOADED = "import sys; print('fairseq' in sys.modules)"
# Code that names neither fairseq nor torch has an interpreter of its own.
FORKED = "\n# fairseq"


def python(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    if "-c" in command:
        command[command.index("-c") + 1] += FORKED
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.mark.skipif("LRDROP_COLD_TESTS" in os.environ, reason="commands start anew")
def test_a_fork_has_fairseq_and_other_settings_get_a_new_interpreter() -> None:
    assert python("-c", LOADED).stdout == "True\n"
    for same in ("OMP_WAIT_POLICY", "TORCHELASTIC_RUN_ID"):  # as the scripts and torchrun set them
        assert python("-c", LOADED, env={**os.environ, same: "passive"}).stdout == "True\n"
    for other in ({"PYTHONHASHSEED": "1"}, {"OMP_NUM_THREADS": "7"}, {"PYTHONWARNINGS": "error"}):
        assert python("-c", LOADED, env={**os.environ, **other}).stdout == "False\n"
    assert python("-s", "-c", LOADED).stdout == "False\n"
    starts = f"import signal, subprocess; subprocess.Popen, signal.signal; {LOADED}"
    assert python("-c", starts).stdout == "False\n"
    spawns = (
        "import multiprocessing; pool = multiprocessing.get_context('spawn').Pool(1)\n"
        "print(pool.apply(eval, (\"'fairseq' in __import__('sys').modules\",)))"
    )
    assert python("-c", spawns).stdout == "True\n"
    becomes = f"import os, sys; os.execv(sys.executable, [sys.executable, '-c', {LOADED!r}])"
    assert python("-c", becomes).stdout == "True\n"
    own = "import sys; print(*(name for name in sys.modules if name == 'fair' + 'seq'))"
    done = subprocess.run([sys.executable, "-c", own], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n")


@pytest.mark.parametrize(
    ("code", "status", "stderr"),
    [
        ("pass", 0, ""),
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('not this')", 1, "not this\n"),
        ("import os; os._exit(9)", 9, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
        ("import atexit, sys; atexit.register(sys.stderr.write, 'late')", 0, "late"),
    ],
)
def test_it_ends_as_the_command_does(code: str, status: int, stderr: str) -> None:
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (status, stderr)


LOCKS = """
import fcntl, os, sys
lock = open(sys.argv[1], "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
os.set_inheritable(lock.fileno(), True)
os.execv(sys.executable, [sys.executable, "-c", "import fcntl, os, sys\\n"
    "print('fairseq' in sys.modules, os.getppid())\\n"
    "fcntl.lockf(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)", sys.argv[1]])
"""


@pytest.mark.skipif("LRDROP_COLD_TESTS" in os.environ, reason="commands start anew")
def test_what_is_killed_has_its_locks_itself(tmp_path: Path) -> None:
    """Else they stay with the process that took them, and are held while the fork runs."""
    done = python("-c", LOCKS, tmp_path / "lock")
    assert done.stdout.startswith("True") and "BlockingIOError" in done.stderr
    done = python("-c", LOCKS, tmp_path / "lock", env={**os.environ, **warm.KILLED})
    assert done.stdout == f"False {os.getpid()}\n" and done.returncode == 0


def test_output_is_out_at_once_where_it_is_not_buffered() -> None:
    code = "import os, sys; sys.stdout.write('out'); os._exit(0)"
    for environment, expected in (({"PYTHONUNBUFFERED": "1"}, "out"), ({}, "")):
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        assert python("-c", code, env={**clean, **environment}).stdout == expected


def test_an_error_has_its_traceback() -> None:
    done = python("-c", "{}['key']")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("KeyError: 'key'\n")


def test_it_has_arguments_folder_environment_and_files(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "print(sys.argv[1:], sys.path[0], os.getcwd(), os.environ['GIVEN'], sys.stdin.read())\n"
        "os.write(int(sys.argv[1]), b'through the pipe')\n"
    )
    script = tmp_path / "command.py"
    script.write_text(code)
    (tmp_path / "here").mkdir()
    here = tmp_path / "here"
    (here / "there.py").write_text(code)
    ways = {"": ("-c", code), str(tmp_path): (str(script),), str(here): ("-m", "there")}
    for first, command in ways.items():
        reading, writing = os.pipe()
        done = python(
            *command, writing, "a b", cwd=here, input="asked", pass_fds=[writing],
            env={**os.environ, "GIVEN": "x"},
        )  # fmt: skip
        os.close(writing)
        expected = [[str(writing), "a b"], first, str(here), "x", "asked"]
        assert done.stdout == " ".join(map(str, expected)) + "\n", done.stderr
        with os.fdopen(reading) as pipe:
            assert pipe.read() == "through the pipe"


WAITS = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 7), (signal.SIGKILL, -9)])
def test_a_signal_reaches_the_command(number: int, status: int) -> None:
    command = [sys.executable, "-c", WAITS + FORKED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        running = Path("/proc") / process.stdout.readline().strip()
        assert running.exists()
        process.send_signal(number)
        assert process.wait() == status
        process.stdout.read()  # ends once nobody is left who could write
    end = time.monotonic() + 10
    while running.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not running.exists()
