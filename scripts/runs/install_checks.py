"""The parts of scripts/install.sh that are easier said in Python; not meant to be run by hand.

Usage: python install_checks.py CHECK [ARGUMENT ...].  Exit status 0 means yes or done; otherwise
the reason is on stderr.  Needs the standard library only, for it runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import logging
import re
import shutil
import sys
import sysconfig
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def forget_unfinished() -> None:
    """Forget packages whose installation was cut off, so that pip installs them again.

    pip writes a package's INSTALLER and RECORD after everything else.
    """
    for site in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for leftover in Path(site).glob("~*"):  # pip's name for what it was about to remove
            shutil.rmtree(leftover, ignore_errors=True)
        for info in Path(site).glob("*.dist-info"):
            if not (info / "INSTALLER").exists() or not (info / "RECORD").exists():
                print(f"install.sh: {info.stem} was left half installed: again", file=sys.stderr)
                shutil.rmtree(info)


def check_fairseq(name: str, version: str, *extensions: str) -> None:
    """Is distribution ``name`` there in this version, importable, with these extensions?"""
    found = importlib.metadata.version(name)
    if found != version:
        sys.exit(f"{name} is {found}, not {version}")
    logging.disable(logging.INFO)  # fairseq advises packages that nothing here needs
    importlib.import_module("fairseq.data.data_utils_fast")
    importlib.import_module("fairseq.data.token_block_utils_fast")
    for extension in extensions:
        if importlib.util.find_spec(extension) is None:
            sys.exit(f"{extension} is not built")


def check_package(root: str, constraints: str, extras: str) -> None:
    """Is this repository's package installed, with what ``extras`` (comma-separated) need?

    Compares what is installed with pyproject.toml and with the constraints file, so that a change
    of either is noticed.
    """
    project = tomllib.loads(Path(root, "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if importlib.metadata.version(project["name"]) != project["version"]:
        sys.exit(f"{project['name']} is not {project['version']}")
    spec = importlib.util.find_spec("lrdrop_fairseq")
    if spec is None or Path(str(spec.origin)).parent != Path(root, "lrdrop_fairseq"):
        sys.exit(f"lrdrop_fairseq is not the one of {root}")

    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", Path(constraints).read_text("utf-8"), re.M))
    for name in requirements(project, [extra for extra in extras.split(",") if extra]):
        found = importlib.metadata.version(name)
        if found != pins.get(name.lower(), found):
            sys.exit(f"{name} is {found}, not {pins[name.lower()]}")


def requirements(project: dict[str, Any], extras: list[str]) -> list[str]:
    """Names of the distributions that a [project] table asks for, with these extras."""
    own = re.compile(re.escape(project["name"]) + r"\[(.*)\]")
    names: list[str] = []
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    while wanted:
        requirement = wanted.pop(0)
        if match := own.fullmatch(requirement):  # an extra that includes others
            for extra in match[1].split(","):
                wanted += project["optional-dependencies"][extra]
        else:
            names.append(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])
    return names


def verify(archive: str, sha256: str) -> None:
    """Has the file this SHA-256 (hexadecimal)?"""
    found = hashlib.sha256(Path(archive).read_bytes()).hexdigest()
    if found != sha256:
        sys.exit(f"{archive}: its SHA-256 is {found}, not {sha256}")


def trim_setup(setup: str, *extensions: str) -> None:
    """Leave all but ``extensions`` out of fairseq's setup.py, and its requirement torchaudio.

    The others compile torch's headers for minutes and are not used here (alignment training,
    non-autoregressive models); torchaudio is not used either and would bring a torch of its own.
    """
    path = Path(setup)
    text = path.read_text(encoding="utf-8")
    keep = (
        f"\nextensions = [e for e in extensions if e.name in {extensions}]"
        f"\nassert len(extensions) == {len(extensions)}, extensions"
    )
    for old, new in [("\ncmdclass = {", f"{keep}\ncmdclass = {{"), ('"torchaudio>=0.8.0",', "")]:
        if text.count(old) != 1:
            sys.exit(f"{path}: {old!r} must occur once to be replaced, not {text.count(old)} times")
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


CHECKS: dict[str, Callable[..., None]] = {
    "forget-unfinished": forget_unfinished,
    "fairseq": check_fairseq,
    "package": check_package,
    "verify": verify,
    "trim-setup": trim_setup,
}

if __name__ == "__main__":
    try:
        CHECKS[sys.argv[1]](*sys.argv[2:])
    except importlib.metadata.PackageNotFoundError as error:
        sys.exit(f"{error.name} is not installed")
