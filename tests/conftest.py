"""What several test modules share because it takes seconds to make."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import warm

if TYPE_CHECKING:  # it reads the environment, so it is imported once that is as it will be
    from tests import toy_run as toy


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--unit", action="store_true", help="the unit tests alone, see tests/unit.py")


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module reads the environment: what is started need not import fairseq."""
    if config.getoption("unit"):
        from tests import unit  # which imports a command of fairseq

        unit.leave_out_the_others()
        return
    only_hands_out_tests = getattr(config.option, "numprocesses", None)  # to the workers of xdist
    if not (os.environ.get("LRDROP_COLD_TESTS") or only_hands_out_tests):
        server = contextlib.ExitStack()
        server.enter_context(warm.serve())
        config.add_cleanup(server.close)


def pytest_collection_finish() -> None:
    """Or each collection of garbage goes through all of torch and fairseq, a tenth of the time."""
    from tests.warm.quick_configs import share_config_store  # hydra, which fairseq imports

    share_config_store()
    gc.collect()
    gc.freeze()


def pytest_collectstart() -> None:
    """Nor does a module's environment have what the imports of others have set."""
    warm.restore_settings()


def pytest_runtest_setup() -> None:
    """No test sees what others have left in the process."""
    # Not at the head of the file: the process that hands out the tests has no use for fairseq.
    from fairseq.logging import metrics

    metrics.reset()  # fairseq never does, and a name keeps its kind of meter
    os.environ.pop("LRDROP_SAVE_DIR_HOLDER", None)  # of a training in this process
    warm.restore_settings()


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory: pytest.TempPathFactory) -> toy.ToyRun:
    """Raw text through prepare.sh and train.sh; the model has learned most of the words."""
    from tests import toy_run as toy

    def make(folder: Path) -> None:
        toy.write_texts(folder)
        toy.prepare(folder, folder / "data", "--vocab-size", "50")
        toy.train(
            folder / "data", folder / "checkpoints", 120,
            "--encoder-normalize-before", "--decoder-normalize-before",
            "--eval-bleu", "--eval-bleu-args", '{"max_len_b": 30}',
        )  # fmt: skip

    folder = made_once(tmp_path_factory, "toy run", make)
    return toy.ToyRun(folder, folder / "data", folder / "checkpoints" / "checkpoint_last.pt")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that one of xdist's workers fills for all of them: only to be read."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, complete = base / name, base / f"{name}.complete"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker in which it failed
            folder.mkdir()
            make(folder)
            complete.touch()
    return folder


@pytest.fixture(scope="session")
def generated(toy_run: toy.ToyRun) -> dict[int, tuple[float, str]]:
    """Scores and tokens that fairseq-generate prints for the test set, with the plugin."""
    from tests import toy_run as toy

    output = toy.with_plugin("fairseq_cli.generate", toy_run.data, "--path", toy_run.checkpoint,
                             "--user-dir", toy.PLUGIN, *toy.GENERATE)  # fmt: skip
    found = toy.hypotheses(output)
    assert len(found) == 20 and len(set(found.values())) > 5
    return found
