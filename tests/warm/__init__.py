"""Commands that the tests start run in forks of a process that has imported fairseq already.

Importing torch and fairseq takes 3 s of a core, and the tests start hundreds of commands, most of
them through the shell scripts.  :func:`serve` starts one server for the tests of a process, and
puts ``sitecustomize.py`` on the path of every Python that they start: it hands command line,
environment, working directory and open files over to the server, waits, and ends as the command
ended.  The server imports fairseq, but neither the plugin nor fairseq's commands.  What a fork
would not show (other options of the interpreter, other variables that are read when Python or
torch starts) is left to the new interpreter.  ``LRDROP_COLD_TESTS=1`` leaves everything to it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.warm.warm_settings import settings

HERE = Path(__file__).parent
# In the environment of what is killed: what holds locks then runs in the process that holds them.
KILLED = {"LRDROP_TEST_KILLS": "1"}
_at_start: dict[str, str] = {}


@contextmanager
def serve() -> Iterator[None]:
    """Lets what is started within it run in forks of a server."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as most tests give it
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        command = ["env", "-u", "PYTHONUNBUFFERED", sys.executable, str(HERE / "server.py"), path]
        # The server ends when its input does: with this process, however that ends.
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdin is not None and server.stdout is not None
            assert server.stdout.readline() == b"listening\n"
            given = os.environ.get("PYTHONPATH")
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), given]))
            os.environ["LRDROP_TEST_SERVER"] = path
            _at_start.update(settings(os.environ))
            try:
                yield
            finally:
                del os.environ["LRDROP_TEST_SERVER"], os.environ["PYTHONPATH"]
                if given is not None:
                    os.environ["PYTHONPATH"] = given
                server.stdin.close()


def restore_settings() -> None:
    """Undoes what libraries have set for the tests' own process, such as PYTHONWARNINGS (fairseq's
    data loaders) and TORCHINDUCTOR_CACHE_DIR: with it no command could run in a fork."""
    if "LRDROP_TEST_SERVER" in os.environ:
        for name in settings(os.environ).keys() - _at_start.keys():
            del os.environ[name]
        os.environ.update(_at_start)


def own_process() -> dict[str, str]:
    """The environment for a command whose process is looked at: it runs in the one that starts."""
    return {name: value for name, value in os.environ.items() if name != "LRDROP_TEST_SERVER"}
