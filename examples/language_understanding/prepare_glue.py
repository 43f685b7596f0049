"""Turns one GLUE task, as distributed, into the directory that fairseq's sentence_prediction reads.

Used by prepare_glue.sh, which downloads, and renames OUTPUT when it is complete.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from examples.language_understanding.binarize import (
    write_classes,
    write_inputs,
    write_numbers,
)
from examples.language_understanding.encoders import DICTIONARY, TextEncoder, gpt2_bpe, imported
from examples.language_understanding.glue_files import MSR_TRAIN, TABLES, Example, read_subset
from examples.language_understanding.sentence_tasks import (
    IDS,
    Task,
    TaskError,
    read_sizes,
    read_task,
)


def find_folder(raw: Path, task: Task) -> Path:
    """The folder with the task's files: an archive unpacks into one of its own, or none."""
    names = (TABLES[task.name][0].file, MSR_TRAIN)
    for folder in (raw / task.name, raw):
        if any((folder / name).is_file() for name in names):
            return folder
    raise TaskError(f"{raw}: neither {task.name}/{names[0]} nor {names[0]} is in it")


def check_sizes(task: Task, sizes: dict[str, int]) -> None:
    """TaskError where a subset has not the published size."""
    for subset, expected in read_sizes(task.name).items():
        if sizes[subset] != expected:
            raise TaskError(
                f"{task.name}: {sizes[subset]:,} examples in '{subset}', but {expected:,} are "
                "published (sizes.tsv): the download is damaged or another version. For data of "
                "your own in the same layout give --any-size"
            )


def write_labels(output: Path, task: Task, subsets: dict[str, list[Example]]) -> None:
    """label/: indices and their dictionary, or numbers from 0 to 1 in text."""
    labelled = {
        table.subset: [example.label for example in subsets[table.subset]]
        for table in TABLES[task.name]
        if table.label
    }
    if task.regression:
        scaled = {n: [f"{float(x) / task.scale}" for x in given] for n, given in labelled.items()}
        write_numbers(output / "label", scaled)
    else:
        write_classes(output / "label", task.labels, labelled)


def write_identities(output: Path, subsets: dict[str, list[Example]]) -> None:
    """ids/: what the file calls each row, so that a prediction can be told whose it is."""
    folder = output / IDS
    folder.mkdir()
    for subset, examples in subsets.items():
        text = "".join(f"{example.identity}\n" for example in examples)
        (folder / f"{subset}.txt").write_text(text, encoding="utf-8", newline="\n")


def open_encoder(options: argparse.Namespace) -> TextEncoder:
    """The tokenizer that was asked for."""
    if options.encoder:
        return imported(options.encoder)
    return gpt2_bpe(options.bpe, options.workers)


def prepare(options: argparse.Namespace) -> dict[str, Any]:
    """Write the whole directory; returns what prepare.json says of it."""
    task = read_task(options.task)
    encoder = open_encoder(options)
    folder = find_folder(options.raw, task)
    subsets: dict[str, list[Example]] = {}
    described: dict[str, Any] = {}
    for table in TABLES[task.name]:
        dropped: list[int] = []
        path, examples = read_subset(task, folder, table, dropped)
        subsets[table.subset] = examples
        described[table.subset] = {
            "file": path.name,
            "examples": len(examples),
            "dropped_lines": dropped,
        }
    if not options.any_size:
        check_sizes(task, {subset: len(examples) for subset, examples in subsets.items()})
    write_labels(options.output, task, subsets)
    write_identities(options.output, subsets)
    texts = {
        subset: [example.inputs for example in examples] for subset, examples in subsets.items()
    }
    written = write_inputs(options.output, texts, encoder)
    encoder.copy_to(options.output / "encoder")
    for subset, found in written.items():
        described[subset]["cut"] = found.cut
    return {
        "task": task.name,
        "subsets": described,
        "labels": list(task.labels),
        "sizes_checked": not options.any_size,
        "unknown_symbols": sum(found.unknown for found in written.values()),
        "encoder": encoder.describe(),
    }


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("--raw", type=Path, required=True)
    encoder = parser.add_mutually_exclusive_group(required=True)
    encoder.add_argument("--bpe", type=Path)
    encoder.add_argument("--encoder", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--any-size", action="store_true")
    options = parser.parse_args()
    try:
        described = prepare(options)
    except (TaskError, OSError) as error:
        print(f"prepare_glue.sh: error: {error}", file=sys.stderr)
        return 1
    text = json.dumps(described, indent=2)
    (options.output / "prepare.json").write_text(f"{text}\n", encoding="utf-8")
    for subset, facts in described["subsets"].items():
        left_out = len(facts["dropped_lines"])
        note = f", {left_out} broken lines left out" if left_out else ""
        print(
            f"  {subset}: {facts['examples']:,} examples ({facts['file']}{note})", file=sys.stderr
        )
    if unknown := described["unknown_symbols"]:
        print(f"  {unknown:,} symbols are not in {DICTIONARY}: is it the model's?", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
