"""scripts/install.sh: what it refuses, and its parts in Python.  Nothing is installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from scripts.runs import install_checks as checks

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the script and what it reads, and no .venv."""
    (tmp_path / "scripts" / "runs").mkdir(parents=True)
    for name in (
        "scripts/install.sh", "scripts/common.sh", "scripts/runs/virtual_environment.sh",
        "scripts/runs/install_checks.py", "constraints.txt", "pyproject.toml",
    ):  # fmt: skip
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def executable(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def install(clone: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHON", "TORCH_VERSION")}
    command = [str(clone / "scripts" / "install.sh"), *arguments]
    environment.update(variables)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--python"]])
def test_wrong_arguments_print_the_usage(clone: Path, arguments: list[str]) -> None:
    result = install(clone, *arguments)
    assert result.returncode == 2 and "usage: scripts/install.sh" in result.stderr


def test_unsupported_python_is_refused(clone: Path) -> None:
    old = executable(clone / "python-old", "echo 3.9")
    for result in (install(clone, "--python", str(old)), install(clone, PYTHON=str(old))):
        assert result.returncode == 1
        assert "is Python 3.9, and this script needs 3.11, 3.12 or 3.13" in result.stderr
    assert not (clone / ".venv").exists()


def test_no_python_on_path_names_what_was_found(clone: Path) -> None:
    tools = clone / "bin"
    for name in ("python", "python3", "python3.11", "python3.12", "python3.13"):
        executable(tools / name, "echo 3.8")
    result = install(clone, PATH=f"{tools}:/usr/bin:/bin")
    assert result.returncode == 1 and "python3 is 3.8" in result.stderr


def test_a_folder_that_is_no_environment_is_left_alone(clone: Path) -> None:
    (clone / ".venv").mkdir()
    (clone / ".venv" / "mine").touch()
    result = install(clone)
    assert result.returncode == 1 and "is no virtual environment" in result.stderr
    assert (clone / ".venv" / "mine").exists()


@pytest.mark.parametrize(
    ("compiler", "message"),
    [
        ("no-such-compiler", "'no-such-compiler' is not on PATH"),
        ("no-such-cache c++", "'no-such-cache' is not on PATH"),
        # A command of several words is one: env starts the last of them.
        ("env false", "the C++ compiler 'env false' cannot compile an empty program"),
    ],
)
def test_missing_compiler_is_said_before_anything_is_downloaded(
    clone: Path, compiler: str, message: str
) -> None:
    # An environment without fairseq, in which every other step would fail the test.
    executable(
        clone / ".venv" / "bin" / "python",
        'case "$1 $2" in',
        '    *" fairseq" | "-m pip") [ "$3" = --version ] ;;',
        '    *" forget-unfinished") ;;',
        f"    *) exec '{sys.executable}' \"$@\" ;;",
        "esac",
    )
    result = install(clone, CXX=compiler)
    assert result.returncode == 1
    assert message in result.stderr
    assert "installing" not in result.stderr


def test_unfinished_installations_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.sysconfig, "get_path", lambda _: str(tmp_path))
    for name, files in {"done-1": ["INSTALLER", "RECORD"], "cut_off-2": ["RECORD"]}.items():
        (tmp_path / f"{name}.dist-info").mkdir()
        for file in files:
            (tmp_path / f"{name}.dist-info" / file).touch()
    (tmp_path / "~alf").mkdir()
    checks.forget_unfinished()
    assert [path.name for path in tmp_path.iterdir()] == ["done-1.dist-info"]


def test_setup_is_trimmed(tmp_path: Path) -> None:
    setup = tmp_path / "setup.py"
    source = "extensions = [E('a'), E('b')]\n\ncmdclass = {}\nrequires = ['x', %s]\n"
    setup.write_text(source % '"torchaudio>=0.8.0",')
    checks.trim_setup(str(setup), "a")
    names: dict[str, Any] = {"E": lambda name: type("Extension", (), {"name": name})}
    exec(setup.read_text(), names)
    assert [extension.name for extension in names["extensions"]] == ["a"]
    assert names["requires"] == ["x"]


def test_unknown_setup_is_refused(tmp_path: Path) -> None:
    setup = tmp_path / "setup.py"
    setup.write_text("extensions = []\n\ncmdclass = {}\n")
    with pytest.raises(SystemExit, match="must occur once to be replaced, not 0 times"):
        checks.trim_setup(str(setup), "a")
    assert "assert" not in setup.read_text()


def test_wrong_checksum_is_refused(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    checks.verify(str(tmp_path / "archive"), sha256)
    with pytest.raises(SystemExit, match=f"is {sha256}, not {'0' * 64}"):
        checks.verify(str(tmp_path / "archive"), "0" * 64)


def test_another_version_of_the_package_is_noticed(clone: Path) -> None:
    module = clone / "lrdrop_fairseq" / "__init__.py"
    module.parent.mkdir()
    module.write_text('"""Registers."""\n\n__version__ = "0.0.1"  # a comment\n')
    with pytest.raises(SystemExit, match="lrdrop-fairseq is not 0.0.1"):
        checks.check_package(str(clone), str(clone / "constraints.txt"), "")
    module.write_text("")
    with pytest.raises(SystemExit, match="__init__.py does not say its __version__"):
        checks.check_package(str(clone), str(clone / "constraints.txt"), "")


def test_what_is_required_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = checks.requirements(project, ["dev", "fairseq"])
    assert {"torch", "sacrebleu", "matplotlib", "pytest", "fairseq-fixed"} <= set(names)
    assert "pytest" not in checks.requirements(project, ["plots"])
    pins = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    for name in names:
        assert sum(pin.startswith(f"{name.lower()}==") for pin in pins) == 1, name
