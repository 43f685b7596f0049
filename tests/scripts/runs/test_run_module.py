"""scripts/runs/run_module.py: the project's modules are its own, wherever it is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
RUN_MODULE = ROOT / "scripts" / "runs" / "run_module.py"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a folder, also on PYTHONPATH, with packages of our names, as a checkout of fairseq is."""
    for package in ("scripts", "examples"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text("raise SystemExit('not ours')\n")
    command = [sys.executable, str(RUN_MODULE), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_other_packages_of_these_names_do_not_come_in_between(tmp_path: Path) -> None:
    done = run(tmp_path, "scripts.corpora.moses_corpus", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: moses_corpus.py")


def test_what_a_module_starts_has_the_environment_of_the_user(tmp_path: Path) -> None:
    show = [sys.executable, "-c", "import os; print(os.environ['PYTHONPATH'])"]
    done = run(tmp_path, "examples.translation.records.measure", str(tmp_path / "memory"), *show)
    assert (done.stdout, done.returncode) == (f"{tmp_path}\n", 0), done.stderr


def test_without_a_module_it_says_what_it_takes(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1 and done.stderr == "usage: run_module.py MODULE [ARGUMENT ...]\n"
