"""Predicts labels or numbers for lines of text; used by predict.sh, which says how."""

from __future__ import annotations

import argparse
import io
import json
import logging
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from fairseq.data import data_utils

from examples.language_understanding.encoders import TextEncoder, saved
from examples.language_understanding.own_lines import clean, decoded
from examples.language_understanding.predict_subset import BATCH, answer, load, names
from examples.language_understanding.run_record import RECORD, check_prepared, read_record
from examples.language_understanding.sentence_tasks import (
    OWN_TEXT,
    Task,
    TaskError,
    read_own,
    read_task,
)

Pair = tuple[str, ...]


def find_data(checkpoint: Path, data: Path | None) -> Path:
    """The data directory of the checkpoint's task."""
    folder = checkpoint.parent
    record: dict[str, Any] = {}
    if (folder / RECORD).is_file():
        record = read_record(folder)
    elif data is None:
        raise TaskError(
            f"{folder / RECORD} does not exist, so it is not known what {checkpoint} was "
            "fine-tuned with: give its data directory by --data"
        )
    if data is None:
        data = Path(record["data"]) / record["task"]
    if not (data / "prepare.json").is_file():
        raise TaskError(
            f"{data / 'prepare.json'} does not exist: --data is the directory that the checkpoint "
            "was fine-tuned with"
        )
    check_prepared(folder, record, data)
    return data


def find_task(data: Path) -> Task:
    """What the data directory is prepared for."""
    found = json.loads((data / "prepare.json").read_text(encoding="utf-8"))
    if found.get("kind") == OWN_TEXT:
        return read_own(data)
    return read_task(found["task"], data.parent)


def read_texts(lines: Iterable[bytes], count: int) -> list[Pair]:
    """The texts of each line; TaskError where it is empty, or has another number of them."""
    found = []
    for number, line in decoded(lines, "standard input"):
        texts = tuple(clean(text) for text in line.rstrip("\r\n").split("\t"))
        if len(texts) != count:
            expected = "a text" if count == 1 else "two texts with a tab between"
            raise TaskError(
                f"standard input, line {number}: {len(texts)} fields, but the model takes "
                f"{expected}"
            )
        if not all(texts):
            raise TaskError(
                f"standard input, line {number}: it is empty, or one of its texts is; give only "
                "lines with text, so that every one has its answer"
            )
        found.append(texts)
    return found


def tokens(config: Any, encoder: TextEncoder, texts: list[Pair]) -> list[torch.Tensor]:
    """The indices of each line as fairseq's sentence_prediction puts them together, uncut."""
    sides = [list(encoder.encode(side)) for side in zip(*texts)]
    separator = [] if config.separator_token is None else [config.separator_token]
    lines = []
    for first, *others in zip(*sides):
        indices = [config.init_token, *first]
        for other in others:
            indices += [*separator, *other]
        lines.append(torch.tensor(indices))
    return lines


def predict(checkpoint: Path, data: Path, texts: list[Pair], task: Task) -> list[str]:
    """What is printed for each line, in order."""
    encoder = saved(data / "encoder")
    model, fairseq_task, device = load(checkpoint, data)
    config = fairseq_task.cfg
    lines = tokens(config, encoder, texts)
    _warn(lines, config.max_positions, encoder.dictionary.unk())
    # Lines of one length together, so that little is padding.
    order = sorted(range(len(lines)), key=lambda place: len(lines[place]))
    answers = [""] * len(lines)
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        rows = [lines[place][: config.max_positions] for place in places]
        batch = data_utils.collate_tokens(rows, encoder.dictionary.pad())
        logits = answer(model, src_tokens=batch.to(device))
        for place, said in zip(places, _answers(task, fairseq_task, logits)):
            answers[place] = said
    return answers


def _warn(lines: list[torch.Tensor], longest: int, unknown: int) -> None:
    """Say on standard error what the model does not see of the lines."""
    cut = sum(len(line) > longest for line in lines)
    pieces = [int(line.eq(unknown).sum()) for line in lines]
    for count, what in (
        (cut, f"{cut:,} lines are cut to {longest} pieces"),
        (sum(pieces), f"{sum(pieces):,} pieces that the model does not know, in "
                      f"{sum(map(bool, pieces)):,} lines, are one unknown piece to it"),
    ):  # fmt: skip
        if count:
            print(f"predict.sh: warning: {what}", file=sys.stderr)


def _answers(task: Task, fairseq_task: Any, logits: torch.Tensor) -> list[str]:
    if task.regression:
        return names(task, fairseq_task, logits[:, 0])
    best, classes = logits.softmax(dim=1).max(dim=1)
    labels = names(task, fairseq_task, classes)
    return [f"{label}\t{value:.4f}" for label, value in zip(labels, best.tolist())]


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    # A reader who has seen enough, such as head, is no error.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    try:
        data = find_data(options.checkpoint, options.data)
        texts = read_texts(sys.stdin.buffer, 2 if (data / "input1").is_dir() else 1)
        answers = predict(options.checkpoint, data, texts, find_task(data)) if texts else []
    except (TaskError, OSError) as error:
        print(f"predict.sh: error: {error}", file=sys.stderr)
        return 1
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write("".join(f"{answer}\n" for answer in answers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
