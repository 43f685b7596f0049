"""Checks text and writes it as tokens, ready for fairseq-preprocess. Called by prepare.sh.

Writes into the folder given by ``--output``:

    text/{train,valid,test,test1,...}  the lines as tokens
    sentencepiece.model                the subword model, with ``--vocab-size``
    text/dict.txt                      the dictionary, with ``--vocabulary-of``
    prepare.json                       what was done
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from examples.language_model import prepare_vocabulary
from scripts.corpora import prepare_subwords
from scripts.corpora.prepare_subwords import BATCH_LINES, Segmenter
from scripts.corpora.prepare_text import TextError, check_tokens, normalize_space, read_lines


def note(message: str) -> None:
    """One line on standard error."""
    print(f"prepare.sh: {message}", file=sys.stderr, flush=True)


def find(name: str) -> Path:
    """The file of that name; TextError where it is none."""
    path = Path(name)
    if path.is_file():
        return path
    raise TextError(f"{path} {'is not a regular file' if path.exists() else 'does not exist'}")


def checked(path: Path, words: bool) -> Iterator[str]:
    """The lines of a text with one space between words.

    Raises TextError for a text that cannot be read, for one without words, and for words that are
    fairseq's own symbols, if they are to be the vocabulary.
    """
    empty = True
    for number, line in enumerate(read_lines(path), start=1):
        if words:
            check_tokens(path, number, line)
        line = normalize_space(line)
        empty = empty and not line
        yield line
    if empty:
        raise TextError(f"{path} has no words")


def write_tokens(path: Path, words: bool, output: Path, segment: Segmenter) -> dict[str, int]:
    """Write the tokens of a text, a line each; returns its lines, empty ones and words."""
    counts = {"lines": 0, "empty": 0, "words": 0}
    lines = checked(path, words)
    with output.open("w", encoding="utf-8", newline="\n") as stream:
        while batch := list(islice(lines, BATCH_LINES)):
            for line, tokens in zip(batch, segment(batch), strict=True):
                counts["lines"] += 1
                counts["empty"] += not line
                counts["words"] += len(line.split(" ")) if line else 0
                stream.write(f"{' '.join(tokens)}\n")
    return counts


def vocabulary(args: argparse.Namespace, train: Path) -> tuple[dict[str, Any], Segmenter]:
    """What prepare.json says of the vocabulary, and what cuts lines into tokens of it."""
    if args.vocabulary_of is not None:
        return prepare_vocabulary.take_over(args.vocabulary_of, args.output, args.workers)
    if args.vocab_size is None:
        described = {"unit": "word", "vocab_size": None, "sentencepiece": None}
        return described, prepare_subwords.words
    note(f"training a sentencepiece model on {train}")
    for _ in checked(train, words=False):  # so that the text is at fault, not the model
        pass
    model = args.output / "sentencepiece.model"
    trained = prepare_subwords.train([train], args.vocab_size, model, args.workers)
    return {"unit": "piece", **trained}, prepare_subwords.segmenter(model, args.workers)


def prepare(args: argparse.Namespace) -> dict[str, object]:
    """Run all steps; returns what prepare.json holds."""
    texts = {"train": args.train, "valid": args.valid}
    texts |= {f"test{index or ''}": name for index, name in enumerate(args.test.split(","))}
    paths = {subset: find(name) for subset, name in texts.items()}
    (args.output / "text").mkdir()
    described, segment = vocabulary(args, paths["train"])
    words = described["unit"] == "word"
    subsets: dict[str, dict[str, object]] = {}
    for subset, path in paths.items():
        note(f"writing tokens of {subset}: {path}")
        counts = write_tokens(path, words, args.output / "text" / subset, segment)
        subsets[subset] = {"file": path.name, **counts}
    return {"kind": "language_model", **described, "subsets": subsets}


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for option in ("--train", "--valid", "--test"):
        parser.add_argument(option, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--vocab-size", type=int)
    parser.add_argument("--vocabulary-of", type=Path)
    parser.add_argument("--workers", type=int, required=True)
    args = parser.parse_args()
    try:
        text = json.dumps(prepare(args), indent=2, ensure_ascii=False)
        (args.output / "prepare.json").write_text(f"{text}\n", encoding="utf-8")
    except (TextError, OSError) as error:
        print(f"prepare.sh: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
