"""The commands of a block of shell code, as bash itself reads it, and the flags that they know.

:func:`recorded` has bash run a block in which every command is a function that writes down its
arguments: loops, variables and quotes are bash's own, and nothing else is run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from fairseq import options

import lrdrop_fairseq  # noqa: F401  registers the architectures and criterions
from tests import toy_run
from tests.documents.markdown import ROOT

# What is no program of this repository and has no flags of ours.
FOREIGN = set(
    "-c awk ct2-fairseq-converter git head hf ln mkdir mv pip pre-commit sed sort".split()
)
PACKAGES = {"benchmarks", "examples", "lrdrop_fairseq", "scripts"}
# Scripts that hand all of their arguments to another one.
HANDS_OVER = {"examples/translation/slurm.sh": "scripts/train.sh"}

_RECORDER = """
set -eu
record() { printf '%s\\0' "$#" "$@" >>"$RECORD"; }
command_not_found_handle() { record "$@"; }
cd() { :; }
source() { :; }
"""


class DocumentError(Exception):
    """What is wrong with a command of a document."""


def recorded(text: str, folder: Path) -> list[list[str]]:
    """The commands that bash would run for ``text``, in their order; ``folder`` is empty."""
    scripts = set(re.findall(r"(?:[\w.-]+/)+[\w-]+\.(?:sh|py)\b", text))
    stand_ins = (f'function {name} {{ record {name} "$@"; }}\n' for name in sorted(scripts))
    # What blocks read from and write to, by the side of their commands.
    for name in ("multi30k-2000", "sentence-text"):
        (folder / "data" / name).mkdir(parents=True)
    (folder / "new.txt").touch()
    record = folder / "record"
    done = subprocess.run(
        ["bash", "-c", _RECORDER + "".join(stand_ins) + text],
        cwd=folder,
        env={"PATH": "/nonexistent", "RECORD": str(record)},
        executable=_bash(),
        capture_output=True,
        text=True,
    )
    if done.returncode or not record.is_file():
        raise DocumentError(f"bash does not run it: {done.stderr or 'no command in it'}")
    words = iter(record.read_text().split("\0")[:-1])
    return [[next(words) for _ in range(int(count))] for count in words]


def _bash() -> str:
    for folder in os.get_exec_path():
        if os.access(f"{folder}/bash", os.X_OK):
            return f"{folder}/bash"
    raise FileNotFoundError("bash")


def program(command: Sequence[str]) -> tuple[str, list[str]] | None:
    """What a command runs that is to be checked, and its arguments; None if there is no such thing.

    It is named by its path (a script), its module, or as it is typed (fairseq-train, make). Of
    torchrun and sbatch it is what they start.
    """
    name, *arguments = command
    if name == "torchrun":
        return program(arguments[arguments.index("--no-python") + 1 :])
    if name == "sbatch":
        first = next(i for i, word in enumerate(arguments) if word.endswith(".sh"))
        return program(arguments[first:])
    if name == "python" and arguments[0] == "-m":
        ours = arguments[1].partition(".")[0] in PACKAGES
        return (arguments[1], arguments[2:]) if ours else None
    if name == "python":
        name, *arguments = arguments
    if name == "scripts/runs/run_module.py":
        name, *arguments = arguments
    return None if name in FOREIGN else (name.removeprefix("../../"), arguments)


def check(name: str, arguments: list[str]) -> None:
    """Raises a DocumentError unless there is such a program and it has these flags."""
    if name == "make":
        targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        unknown = [word for word in arguments if word not in targets]
    elif name == "lrdrop_fairseq":  # it prints its folder
        unknown = arguments
    elif name == "fairseq-train":
        unknown = _refused(options.get_training_parser(), arguments)
    elif name == "fairseq-generate":
        unknown = _refused(options.get_generation_parser(), arguments)
    elif name == "fairseq-hydra-train":
        unknown = _missing_configuration(arguments)
    else:
        # Behind the first "--" stands what goes on to fairseq-train, or to fairseq-generate.
        end = arguments.index("--") if "--" in arguments else len(arguments)
        own, behind = arguments[:end], arguments[end:]
        help_text = usage(HANDS_OVER.get(name, name), *_subcommand(name, own))
        unknown = sorted(set(flags(own)) - set(re.findall(r"--[a-z][\w-]*", help_text)))
        language = name == "examples/language_model/train.sh"
        known = generation_flags() if name == "scripts/evaluate.sh" else training_flags(language)
        unknown += sorted(set(flags(behind)) - known)
    if unknown:
        raise DocumentError(f"{name} knows no {', '.join(unknown)}")


def flags(arguments: Sequence[str]) -> list[str]:
    return [word.partition("=")[0] for word in arguments if word.startswith("--") and word != "--"]


def _subcommand(name: str, arguments: Sequence[str]) -> list[str]:
    named = arguments[0] if arguments else ""
    choices = re.search(r"\{([\w,-]+)\}", usage(name)) if name.endswith(".py") else None
    return [named] if choices and named in choices[1].split(",") else []


@cache
def usage(name: str, *subcommand: str) -> str:
    """What ``--help`` prints (or, of a program without it, what a wrong argument does)."""
    if name.endswith((".sh", ".py")):
        if not (ROOT / name).is_file():
            raise DocumentError(f"{name} does not exist")
        command = [sys.executable] if name.endswith(".py") else [_bash()]
        command.append(str(ROOT / name))
    elif "." in name:
        command = [sys.executable, "-m", name]
    else:
        raise DocumentError(f"{name}: no such command is known to the tests of the documents")
    command += [*subcommand, "--help"]
    # A user has no PYTHONPATH.
    done = subprocess.run(
        command, cwd=ROOT, env=toy_run.ENVIRONMENT, capture_output=True, text=True
    )
    text = done.stdout + done.stderr
    if not re.match("usage: ", text, re.IGNORECASE):
        raise DocumentError(f"{name} --help prints no usage: {text.strip()[-300:]}")
    return text


@cache
def generation_flags() -> frozenset[str]:
    return frozenset(options.get_generation_parser()._option_string_actions)


@cache
def training_flags(language: bool) -> frozenset[str]:
    """What fairseq-train takes with the plugin's translation or language models and criterion."""
    parser = options.get_training_parser()
    command = "data --arch lr_drop_transformer --criterion lr_drop_label_smoothed_cross_entropy"
    if language:
        command = "data --task language_modeling --arch lr_drop_transformer_lm"
        command += " --criterion lr_drop_cross_entropy"
    command += " --optimizer adam --lr-scheduler inverse_sqrt"
    options.parse_args_and_arch(parser, command.split())  # which adds what these take
    return frozenset(parser._option_string_actions)


def _refused(parser: ArgumentParser, arguments: list[str]) -> list[str]:
    """The arguments, if fairseq's parser does not take them; it reads paths from ROOT."""
    # "" stands for what a command in the command would print, an ellipsis for more arguments.
    words = [word or "lrdrop_fairseq" for word in arguments]
    words = [{"…": "--arch=lr_drop_transformer"}.get(word, word) for word in words]
    try:
        options.parse_args_and_arch(parser, words)
    except SystemExit:
        return [f"such arguments: {' '.join(arguments)}"]
    return []


def _missing_configuration(arguments: list[str]) -> list[str]:
    values = dict(zip(arguments[::2], arguments[1::2]))
    path = ROOT / values["--config-dir"] / f"{values['--config-name']}.yaml"
    return [] if path.is_file() else [str(path.relative_to(ROOT))]
