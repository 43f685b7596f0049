"""Keeps SAVE_DIR/train.json: what is trained there, so that no second run mixes in something else.

    train_record.py DATA SAVE_DIR --method M --preset P --seed N --flags "..." [-- COMMAND]

Used by train.sh. Prints "SOURCE TARGET", the two languages, on success; on failure prints what is
wrong on standard error and exits with status 1. With COMMAND, the training, it takes SAVE_DIR for
it, writes the record and becomes the command, so that nobody comes in between.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from scripts.corpora import preparation
from scripts.corpora.prepare_text import TextError
from scripts.runs.complete_files import write
from scripts.runs.json_objects import DamagedError, read_object

LOCK = Path(__file__).resolve().parents[2] / "lrdrop_fairseq" / "save_dir_lock.py"


class RecordError(Exception):
    """What is wrong, where, and what to do about it."""


def languages(data: Path) -> tuple[str, str]:
    """(source, target) of a data directory that the models can be trained on."""
    try:
        contents = preparation.read(data, "source_lang", "target_lang")
    except TextError as error:
        raise RecordError(str(error)) from error
    source, target = contents["source_lang"], contents["target_lang"]
    dictionaries = [data / f"dict.{language}.txt" for language in (source, target)]
    for path in dictionaries:
        if not path.is_file():
            raise RecordError(f"{path} does not exist: prepare the data again with prepare.sh")
    if dictionaries[0].read_bytes() != dictionaries[1].read_bytes():
        raise RecordError(
            f"{dictionaries[0]} and {dictionaries[1]} differ: the presets share one embedding "
            "table between the languages and need one joint dictionary, which prepare.sh makes"
        )
    return source, target


def terms(flags: str) -> dict[str, str]:
    """What fairseq's flags say of LR-Drop's terms, their weights and when they act.

    Another value is another training, while other flags may change when a run goes on
    (--max-update, --max-tokens with --update-freq).
    """
    return dict(re.findall(r"--lr-drop-([\w-]+?)(?:-weight)?[= ](\S+)", flags))


def same(one: object, other: object) -> bool:
    """Whether two values of a record mean the same."""
    if isinstance(one, dict) and isinstance(other, dict):  # the flags of the terms
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    return one == other


def alike(one: str, other: str) -> bool:
    """Whether two words of a command line mean the same: 2 is 2.0."""
    try:
        return float(one) == float(other)
    except ValueError:
        return one == other


def has_checkpoint(save_dir: Path) -> bool:
    """Whether anything was trained in the folder. Until then its record binds nobody."""
    return any(save_dir.glob("checkpoint*.pt"))


def check(save_dir: Path, record: dict[str, object]) -> None:
    """RecordError when SAVE_DIR holds a run with another record, or with none."""
    path = save_dir / "train.json"
    if not has_checkpoint(save_dir):
        return
    if not path.is_file():
        raise RecordError(
            f"{save_dir} holds checkpoints but no train.json, so it is not known what was "
            "trained there: give another --save-dir"
        )
    # A record that does not say the dictionary is older than this check.
    try:
        before = {"dictionary": record.get("dictionary"), **read_object(path)}
    except DamagedError as error:
        raise RecordError(str(error)) from error
    differ = [
        f"{key} {before.get(key)!r} there, {value!r} now"
        for key, value in record.items()
        if key != "flags" and not same(before.get(key), value)
    ]
    if differ:
        raise RecordError(
            f"{path} says that something else was trained in this folder "
            f"({'; '.join(differ)}): give another --save-dir, delete the folder if that run is "
            "not needed, or correct the file where the same data have only been moved"
        )


def keep(save_dir: Path, record: dict[str, object]) -> None:
    """Write the record, which has been checked; say it where a training goes on with other flags.

    That is allowed, as for more updates; but what is evaluated later is of both.
    """
    path = save_dir / "train.json"
    known = path.is_file() and has_checkpoint(save_dir)
    before = read_object(path).get("flags") if known else None
    if before not in (None, record["flags"]):
        now = record["flags"]
        print(f"note: {path} has the flags '{before}', from now on '{now}'", file=sys.stderr)
    save_dir.mkdir(parents=True, exist_ok=True)
    write(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def hold(save_dir: Path) -> None:
    """Take the folder for this process and what it becomes; RecordError if another has it.

    By the plugin's own lock, without the package around it, whose import takes seconds.
    """
    spec = importlib.util.spec_from_file_location("save_dir_lock", LOCK)
    assert spec is not None and spec.loader is not None
    lock: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lock)
    try:
        lock.hold(save_dir)
    except lock.SaveDirInUseError as error:
        raise RecordError(str(error)) from None


def train(save_dir: Path, record: dict[str, object], command: Sequence[str]) -> NoReturn:
    """Take the folder, check and keep the record, and become the command."""
    hold(save_dir)
    check(save_dir, record)
    keep(save_dir, record)
    os.execvp(command[0], list(command))


def split_command(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """What stands before and behind the first --."""
    if "--" not in arguments:
        return arguments, []
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


def command_line(description: str | None) -> argparse.ArgumentParser:
    """What every script that keeps a record says of its run."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("data", type=Path)
    parser.add_argument("save_dir", type=Path)
    parser.add_argument("--method", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--flags", required=True, help="what else fairseq-train gets")
    return parser


def describe(options: argparse.Namespace, **more: object) -> dict[str, object]:
    """The record of the run that :func:`command_line` says."""
    dictionary = read_object(options.data / "prepare.json").get("dictionary_sha256")
    if dictionary is not None:  # data of older versions do not say it
        more["dictionary"] = dictionary
    return {
        "method": options.method,
        **more,
        "seed": options.seed,
        "data": str(options.data.resolve()),
        "weights": terms(options.flags),
        "flags": options.flags,  # what else they say may change
    }


def main() -> int:
    """The command line; returns the exit status."""
    parser = command_line(__doc__)
    parser.add_argument("--preset", required=True)
    arguments, command = split_command(sys.argv[1:])
    options = parser.parse_args(arguments)
    try:
        source, target = languages(options.data)
        record = describe(options, preset=options.preset)
        if command:
            train(options.save_dir, record, command)
        check(options.save_dir, record)
    except (RecordError, OSError) as error:
        print(f"train.sh: error: {error}", file=sys.stderr)
        return 1
    print(source, target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
