"""Every script in an environment that changes where bash and Python look for files."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.toy_run import ROOT

SCRIPTS = sorted(
    str(path.relative_to(ROOT))
    for folder in ("benchmarks", "examples", "scripts")
    for path in (ROOT / folder).rglob("*.sh")
    if path.read_bytes().startswith(b"#!")  # the others are sourced
)
# Of bash itself: it warns of a locale that the machine lacks.
FIXED = {"LC_ALL": "C"}
HINDERING = {"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "default,error::UserWarning"}
# What the script's own commands would get: it sees no arguments but --help, and then ends.
ASK = 'trap "echo; env" EXIT; source "$0" --help'


def help_and_environment(script: str, **variables: str) -> tuple[str, list[str]]:
    """What a script prints, called by a relative name, and the variables that it passes on."""
    # CDPATH as interactive shells have it: first of all where the folders of this name are.
    environment = {**os.environ, **FIXED, **HINDERING, "CDPATH": f"{ROOT}:/usr", **variables}
    done = subprocess.run(
        ["bash", "-c", ASK, script], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    printed, _, passed_on = done.stdout.rpartition("\n\n")
    return printed, passed_on.splitlines()


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_variable_of_the_user_hinders_a_script(script: str) -> None:
    printed, passed_on = help_and_environment(script)
    names = {line.partition("=")[0] for line in passed_on}
    assert "PATH" in names
    assert names.isdisjoint([*HINDERING, "CDPATH"])
    assert str(ROOT) not in printed  # as `cd` prints where CDPATH has led it


def test_other_settings_of_warnings_stay() -> None:
    _, passed_on = help_and_environment("scripts/compare.sh", PYTHONWARNINGS="ignore")
    assert "PYTHONWARNINGS=ignore" in passed_on
