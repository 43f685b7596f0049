"""The options of prepare_text.sh, and what of them decides the contents of a data directory."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from examples.language_understanding import encoders
from examples.language_understanding.encoders import TextEncoder, fingerprint
from examples.language_understanding.own_files import Columns
from examples.language_understanding.sentence_tasks import TaskError


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("train", "valid"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--name", required=True)
    for name in ("encoder", "bpe", "sentencepiece", "dictionary", "existing"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--label-column")
    parser.add_argument("--text-columns")
    parser.add_argument("--regression", action="store_true")
    parser.add_argument("--workers", type=int, required=True)
    return parser.parse_args()


Subsets = dict[str, Path]


def subsets(options: argparse.Namespace) -> Subsets:
    """The given files by subset."""
    named = {name: getattr(options, name) for name in ("train", "valid", "test")}
    return {name: path for name, path in named.items() if path}


def open_encoder(options: argparse.Namespace) -> TextEncoder:
    """The tokenizer that was asked for."""
    if options.encoder:
        return encoders.imported(options.encoder)
    if options.bpe:
        return encoders.gpt2_bpe(options.bpe, options.workers)
    return encoders.sentencepiece(options.sentencepiece, options.dictionary)


def encoder_files(options: argparse.Namespace) -> dict[str, Path]:
    """The files that it consists of."""
    if options.encoder:
        return encoders.imported_files(options.encoder)
    if options.bpe:
        return encoders.gpt2_bpe_files(options.bpe)
    return encoders.sentencepiece_files(options.sentencepiece, options.dictionary)


def columns(options: argparse.Namespace) -> Columns | None:
    """The names of the columns, where they are given; those that are not have their default."""
    if not options.label_column and not options.text_columns:
        return None
    texts = tuple((options.text_columns or "text").split(","))
    found = Columns(options.label_column or "label", texts)
    if not all(texts) or len(texts) > 2 or len({found.label, *texts}) < 1 + len(texts):
        raise TaskError(
            f"--text-columns {','.join(texts)}: one column, or two different ones with a comma "
            "between, and neither that of the label"
        )
    return found


def made_of(options: argparse.Namespace) -> dict[str, Any]:
    """What decides the contents of the directory."""
    return {
        "files": {name: fingerprint([path]) for name, path in subsets(options).items()},
        "encoder": fingerprint(encoder_files(options).values()),
        "regression": options.regression,
        "label_column": options.label_column,
        "text_columns": options.text_columns,
    }


def check_existing(options: argparse.Namespace) -> None:
    """TaskError unless the directory holds what these options give."""
    path = options.existing / "prepare.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["made_of"]
        wanted = made_of(options)
        differ = [key for key in wanted if found[key] != wanted[key]]
    except (ValueError, KeyError, TypeError) as error:
        raise TaskError(
            f"{path}: not what this script writes ({error!r}); choose another --output, or "
            "replace it with --force"
        ) from error
    if differ:
        raise TaskError(
            f"{options.existing} exists, made of something else ({', '.join(differ)}): choose "
            "another --output, or replace it with --force"
        )
