"""The process whose forks run the tests' commands: ``python server.py SOCKET``."""

from __future__ import annotations

import array
import atexit
import gc
import io
import json
import logging
import os
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
import warnings
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn, TextIO

from quick_configs import share_config_store
from warm_settings import settings

MOST_FILES = 250  # that one message can carry


def main() -> None:
    """Listens, and forks once for each command, until standard input ends."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(sys.argv[1])
    server.listen(64)  # who comes before the imports are done waits
    at_start = settings(os.environ)  # before imports add their own
    print("listening", flush=True)
    # Or pyarrow, which fairseq comes to import, starts a thread, and each fork a warning.
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    import fairseq  # noqa: F401
    import sacremoses  # noqa: F401
    import torch
    import torch._dynamo  # which every optimizer imports: that takes longer than to train here

    # fairseq has looked for these among what is installed; a command has its own places.
    for name in [name for name in sys.modules if name.partition(".")[0] in ("examples", "scripts")]:
        del sys.modules[name]
    # fairseq's commands set it up before they import fairseq, which else does it in its own way.
    logging.root.handlers.clear()
    logging.root.setLevel(logging.WARNING)
    torch.set_num_threads(1)
    share_config_store()
    # What the imports would take apart at the end ends with the process, and takes longer than most
    # commands.
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False
    gc.collect()
    gc.freeze()  # or each fork would copy all pages at its first collection
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    threads = threading.active_count()
    assert threads == 1, f"{threads} threads: a fork would have but one of them"
    while True:
        ready, _, _ = select.select([server, sys.stdin], [], [])
        if sys.stdin in ready:
            os._exit(0)
        connection, _ = server.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            server.close()
            break
        connection.close()
    attend(connection, at_start)


def attend(connection: socket.socket, at_start: dict[str, str]) -> None:
    """Runs the command that comes through ``connection`` and tells how it ended."""
    command, files = receive(connection)
    same = command["settings"] == at_start
    try:
        connection.send(b"y" if same else b"n")
    except BrokenPipeError:  # killed meanwhile
        os._exit(0)
    if not same:
        os._exit(0)
    runner = os.fork()
    if runner == 0:
        connection.close()
        take_over(command, files)
        end(lambda: run(command["arguments"]))
    for file in files:
        os.close(file)
    gone = os.pidfd_open(runner)
    while True:
        ready, _, _ = select.select([gone, connection], [], [])
        if gone in ready:
            break
        number = connection.recv(1)
        if not number:  # killed: so is what it started
            kill_all(runner)
            break
        os.kill(runner, number[0])
    _, status = os.waitpid(runner, 0)
    code = os.waitstatus_to_exitcode(status)
    try:
        connection.send(bytes([code < 0, abs(code)]))
    except BrokenPipeError:
        pass
    os._exit(0)


def kill_all(runner: int) -> None:
    """Kills the command and what it has started."""
    os.kill(runner, signal.SIGKILL)
    try:
        os.killpg(runner, signal.SIGKILL)
    except ProcessLookupError:  # it had not come to its setsid()
        pass


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The command and its open files, under numbers of this process."""
    size = array.array("i").itemsize
    head, ancillary, _, _ = connection.recvmsg(8, socket.CMSG_SPACE(MOST_FILES * size))
    files = array.array("i")
    for _, _, data in ancillary:
        files.frombytes(data[: len(data) - len(data) % size])
    text = b""
    while len(text) < int.from_bytes(head, "big"):
        received = connection.recv(1 << 20)
        if not received:  # killed before it had said all
            os._exit(0)
        text += received
    return json.loads(text), list(files)


def take_over(command: dict[str, Any], files: list[int]) -> None:
    """Makes this process one that was started as the command was: files, folder, environment."""
    os.setsid()
    # First out of the way of the numbers that they are to have.
    free = max(files + command["files"]) + 1
    moved = [os.dup2(file, free + i) for i, file in enumerate(files)]
    os.closerange(3, free)
    for file, number in zip(moved, command["files"]):
        os.dup2(file, number)
    os.closerange(free, free + len(files))
    for number in command["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    os.chdir(command["folder"])
    if command["environment"].get("PYTHONWARNINGS") == "ignore":
        warnings.simplefilter("ignore")
    if command["environment"].get("PYTHONUNBUFFERED"):
        sys.stdout, sys.stderr = unbuffered(sys.stdout), unbuffered(sys.stderr)
    own = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(command["environment"])
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [*filter(None, given), *(path for path in sys.path[1:] if path not in own)]


def unbuffered(stream: Any) -> TextIO:
    """The stream as the interpreter opens it with PYTHONUNBUFFERED: what is written is out."""
    raw: Any = io.FileIO(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, "\n", write_through=True)


def run(arguments: list[str]) -> None:
    """What the interpreter does with its arguments."""
    kind, rest = arguments[0], arguments[1:]
    sys.orig_argv = [sys.executable, *arguments]
    if kind == "-m":
        sys.argv = ["-m", *rest[1:]]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path.insert(0, "")
        main = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    else:
        sys.argv = [kind, *rest]
        sys.path.insert(0, os.path.dirname(os.path.realpath(kind)))
        runpy.run_path(kind, run_name="__main__")


def end(command: Callable[[], None]) -> NoReturn:
    """Runs ``command`` and ends as the interpreter would, without taking fairseq apart first."""
    code = 0
    try:
        command()
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
        if isinstance(exit.code, str):
            print(exit.code, file=sys.stderr)
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the command's threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:  # as multiprocessing's tracker of resources leaves them
            stream.flush()
    os._exit(code & 255)


if __name__ == "__main__":
    main()
