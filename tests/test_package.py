"""The wheel and the sdist: what is in them, what they say, and a training from the installed wheel.

They are built, as ``python -m build`` does it, from a copy of what git tracks: the wheel from the
sdist.
"""

from __future__ import annotations

import email
import os
import shutil
import site
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

import lrdrop_fairseq
from tests.toy import TERMS, write_data

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="no repository: nothing says which files belong to it"
)


class Built(NamedTuple):
    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    """The repository's files, new ones too that are to be committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return {name for name in listed.stdout.split("\0") if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def built(tracked: set[str], tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("package")
    for name in tracked:
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "source" / name)
    # Without isolation, which would download setuptools.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, folder / "source")
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Built(sdist, wheel)


@pytest.fixture(scope="module")
def python(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the wheel, and with torch and fairseq from this one.

    Not with the plugin from this one: it is editable here, which is done by a file that Python
    reads in an environment's own folder of packages alone.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "beside.pth").write_text("".join(f"{path}\n" for path in site.getsitepackages()))
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index",
        built.wheel)  # fmt: skip
    return python


def run(*command: object, cwd: Path = Path("/")) -> str:
    """What a command prints to standard output; it finds nothing of the repository by itself."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_the_package(built: Built, tracked: set[str]) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        (license_file,) = (name for name in wheel.namelist() if name.endswith("/licenses/LICENSE"))
        assert wheel.read(license_file) == (ROOT / "LICENSE").read_bytes()
    assert names == {name for name in tracked if name.startswith("lrdrop_fairseq/")}
    assert {"lrdrop_fairseq/py.typed", "lrdrop_fairseq/criterions/__init__.py"} <= names


def test_the_sdist_holds_the_repository(built: Built, tracked: set[str]) -> None:
    """Scripts that can be run, too."""
    with tarfile.open(built.sdist) as sdist:
        files = {
            member.name.partition("/")[2]: member.mode & 0o100
            for member in sdist.getmembers()
            if member.isfile() and ".egg-info/" not in member.name
        }
    made = {"PKG-INFO", "setup.cfg"}
    expected = {name: (ROOT / name).stat().st_mode & 0o100 for name in tracked}
    assert {name: mode for name, mode in files.items() if name not in made} == expected
    assert made <= files.keys() and files["scripts/install.sh"] and files["README.md"] == 0


def test_what_the_package_says_of_itself(built: Built) -> None:
    """A package index takes it and shows the README."""
    run(sys.executable, "-m", "twine", "check", "--strict", *built)
    with zipfile.ZipFile(built.wheel) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_string(wheel.read(name).decode())
    assert metadata["Version"] == lrdrop_fairseq.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_payload() == (ROOT / "README.md").read_text("utf-8")


def test_the_installed_wheel_trains(python: Path, tmp_path: Path) -> None:
    """With the folder that ``python -m lrdrop_fairseq`` prints, and nothing else."""
    (folder,) = python.parent.parent.glob("lib/python*/site-packages/lrdrop_fairseq")
    data = write_data(tmp_path / "data", {"train": [(4, 5)] * 8, "valid": [(3, 4)] * 2})
    log = run(
        "bash", "-euc", 'python=$1 train=$2; shift 2; '
        '"$python" "$train" "$@" --user-dir "$("$python" -m lrdrop_fairseq)"', "bash",
        python, f"{sysconfig.get_path('scripts')}/fairseq-train", data,
        "--arch=lr_drop_transformer_multi30k", "--encoder-layers=1", "--decoder-layers=1",
        "--criterion=lr_drop_label_smoothed_cross_entropy", "--lr-drop-start=0", "--dropout=0.2",
        "--optimizer=adam", "--lr=0.001", "--max-tokens=50", "--max-update=3", "--cpu",
        "--num-workers=0", "--log-format=simple", "--log-interval=1", "--save-dir=checkpoints",
        cwd=tmp_path,
    )  # fmt: skip
    assert f"'user_dir': '{folder}'" in log
    assert all(f" {term}=" in log for term in TERMS)
    assert (tmp_path / "checkpoints" / "checkpoint_last.pt").exists()
