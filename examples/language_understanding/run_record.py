"""Keeps SEED_DIR/finetune.json: what is fine-tuned there, and whether it is finished.

    run_record.py begin SEED_DIR --task T --method M --arch A --model FILE --data DIR --seed N
        --flags "..." [-- COMMAND]
    run_record.py finish SEED_DIR

Used by finetune.sh.  ``begin`` prints "finished", "resume" or "start", or refuses a folder where
something else was fine-tuned.  With COMMAND, the fine-tuning, it takes the folder for it and
becomes the command, unless the folder is finished.  ``finish`` takes the optimizer's state out of
checkpoint_best.pt, which makes it a third as large, and deletes checkpoint_last.pt.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from examples.language_understanding.sentence_tasks import HERE, OWN_TEXT, TaskError
from scripts.runs import train_record
from scripts.runs.complete_files import write
from scripts.runs.json_objects import DamagedError, read_object

BEST, LAST, RECORD = "checkpoint_best.pt", "checkpoint_last.pt", "finetune.json"
MODEL_HASH = "model_sha256"
CHANGED_SINCE = {
    "prepared": "the data were prepared again since",
    MODEL_HASH: "the file of the pretrained model has changed since",
}


def read_record(folder: Path) -> dict[str, Any]:
    """finetune.json of a folder; TaskError when there is none, or it is damaged."""
    path = folder / RECORD
    try:
        return read_object(path)
    except FileNotFoundError as error:
        raise TaskError(f"{path} does not exist: fine-tune with finetune.sh") from error
    except DamagedError as error:
        raise TaskError(str(error)) from error


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write finetune.json."""
    write(folder / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def prepared(data: Path) -> str | None:
    """A number for the preparation of a data directory: of own text, or with --encoder.

    Such data are made again more easily than GLUE's, with other labels or another vocabulary.
    """
    path = data / "prepare.json"
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    try:
        own = json.loads(text).get("kind") == OWN_TEXT
    except (ValueError, AttributeError) as error:
        raise TaskError(f"{path}: not what a preparation writes ({error})") from error
    if not own and not (data / "encoder" / "import.json").is_file():
        return None
    return hashlib.sha256(text.encode()).hexdigest()


def check_prepared(folder: Path, record: dict[str, Any], data: Path) -> None:
    """TaskError where the data have become others since the fine-tuning."""
    if record.get("prepared") not in (None, prepared(data)):
        raise TaskError(
            f"{data} is not what {folder} was fine-tuned with: it was prepared again since. "
            "Fine-tune again, in another --save-dir"
        )


def begin(folder: Path, wanted: dict[str, Any]) -> str:
    """State of the folder: "finished", "resume" or "start"; TaskError if it holds another run.

    Until there is a checkpoint its record binds nobody: that run failed before it trained.
    """
    if not train_record.has_checkpoint(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_record(folder, {**wanted, "finished": False})
        return "start"
    if not (folder / RECORD).is_file():
        raise TaskError(
            f"{folder} holds checkpoints but no {RECORD}, so it is not known what was trained "
            "there: give another --save-dir"
        )
    record = read_record(folder)
    record.setdefault(MODEL_HASH, wanted.get(MODEL_HASH))  # it was not always kept
    differ = [
        CHANGED_SINCE.get(key) or f"{key} {record.get(key)!r} there, {value!r} now"
        for key, value in wanted.items()
        if not same(key, record.get(key), value)
    ]
    if differ:
        raise TaskError(
            f"{folder / RECORD} says that something else was fine-tuned in this folder "
            f"({'; '.join(differ)}): give another --save-dir, or delete the folder if that run is "
            "not needed"
        )
    if record["finished"]:
        return "finished"
    return "resume" if (folder / LAST).is_file() else "start"


def same(key: str, one: Any, other: Any) -> bool:
    """Whether two values of a record mean the same; in flags 2 is 2.0."""
    if key != "flags" or not isinstance(one, str):
        return bool(one == other)
    words = [re.split(r"[=\s]+", flags.strip()) for flags in (one, other)]
    return len(words[0]) == len(words[1]) and all(map(train_record.alike, *words))


def load_plugin() -> None:
    """Import the plugin of this repository: its architectures, and its repairs of fairseq."""
    from fairseq.utils import import_user_module

    import_user_module(argparse.Namespace(user_dir=str(HERE.parents[1] / "lrdrop_fairseq")))


def finish(folder: Path) -> None:
    """Keep the best checkpoint alone, without the optimizer's state; TaskError if there is none."""
    load_plugin()
    from lrdrop_fairseq.checkpoints.files import CheckpointError, load, save

    best = folder / BEST
    if not best.is_file():
        raise TaskError(f"{best} does not exist: no validation gave a score; see train.log there")
    try:
        state = load(best)
    except CheckpointError as error:
        raise TaskError(str(error)) from error
    for pattern in ("scores.*.json", "predictions.*.tsv"):  # of a model that was here before
        for old in folder.glob(pattern):
            old.unlink()
    state["last_optimizer_state"] = None
    save(state, best)
    updates = state["optimizer_history"][-1]["num_updates"]
    score = state["extra_state"]["best"]
    write_record(
        folder,
        {**read_record(folder), "finished": True, "best_score": score, "best_update": updates},
    )
    (folder / LAST).unlink(missing_ok=True)


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("begin")
    first.add_argument("folder", type=Path)
    for name in ("task", "method", "arch", "flags"):
        first.add_argument(f"--{name}", required=True)
    for name in ("model", "data"):
        first.add_argument(f"--{name}", type=Path, required=True)
    first.add_argument("--seed", type=int, required=True)
    commands.add_parser("finish").add_argument("folder", type=Path)
    arguments, training = train_record.split_command(sys.argv[1:])
    options = parser.parse_args(arguments)
    try:
        train_record.hold(options.folder)
        if options.command == "finish":
            finish(options.folder)
        else:
            wanted = {key: getattr(options, key) for key in ("task", "method", "arch", "seed")}
            wanted |= {key: str(getattr(options, key).resolve()) for key in ("model", "data")}
            wanted["flags"] = options.flags
            with options.model.open("rb") as model:
                wanted[MODEL_HASH] = hashlib.file_digest(model, "sha256").hexdigest()
            if preparation := prepared(options.data / options.task):
                wanted["prepared"] = preparation
            state = begin(options.folder, wanted)
            if not training:
                print(state)
            elif state != "finished":
                os.execvp(training[0], list(training))
    except (TaskError, train_record.RecordError, OSError) as error:
        print(f"finetune.sh: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
