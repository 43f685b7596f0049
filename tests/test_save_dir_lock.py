"""lrdrop_fairseq.save_dir_lock: who may train in a folder, and for how long."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lrdrop_fairseq import save_dir_lock

HOLDER = """
import importlib.util, os, pathlib, sys
spec = importlib.util.spec_from_file_location("save_dir_lock", sys.argv[1])
lock = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lock)
assert not {"torch", "fairseq", "lrdrop_fairseq"} & set(sys.modules)
lock.hold(pathlib.Path(sys.argv[2]))
os.execvp("sh", ["sh", "-c", "echo holding; exec sleep 60"])
"""


@contextmanager
def held(folder: Path) -> Iterator[int]:
    """Another process holds the folder, and is killed at the end: its number.

    It has become another program since, as the scripts become the training.
    """
    reading, writing = os.pipe()
    command = [sys.executable, "-c", HOLDER, save_dir_lock.__file__, str(folder)]
    actions = [(os.POSIX_SPAWN_DUP2, writing, 1)]
    # Really a process of its own, and not a fork of the tests' server.
    environment = {k: v for k, v in os.environ.items() if k != "LRDROP_TEST_SERVER"}
    process = os.posix_spawn(sys.executable, command, environment, file_actions=actions)
    os.close(writing)
    with os.fdopen(reading) as lines:
        assert lines.readline() == "holding\n"
        try:
            yield process
        finally:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def test_a_held_folder_is_refused_until_its_holder_dies(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "save"
    with held(folder) as process:
        name = f"{folder}: another training .*process {process} on {socket.gethostname()}.*--save-"
        with pytest.raises(save_dir_lock.SaveDirInUseError, match=name):
            save_dir_lock.hold(folder)
    save_dir_lock.hold(folder)
    save_dir_lock.hold(folder)  # twice in one process: it has it already
    assert (folder / ".lock").read_text() == f"process {os.getpid()} on {socket.gethostname()}"
    assert os.environ[save_dir_lock.HOLDER] == (folder / ".lock").read_text()


def test_a_process_that_the_holder_started_may_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fairseq starts one for each GPU."""
    with held(tmp_path):
        monkeypatch.setenv(save_dir_lock.HOLDER, (tmp_path / ".lock").read_text())
        save_dir_lock.hold(tmp_path)
        monkeypatch.delenv(save_dir_lock.HOLDER)
        with pytest.raises(save_dir_lock.SaveDirInUseError):
            save_dir_lock.hold(tmp_path)


def test_a_disk_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    with caplog.at_level(logging.WARNING):
        save_dir_lock.hold(tmp_path)
    assert f"{tmp_path}: no locks on this file system (No locks available)" in caplog.text
