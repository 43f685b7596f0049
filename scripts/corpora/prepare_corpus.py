"""Checks a parallel corpus and writes it as tokens, ready for fairseq-preprocess.

Called by prepare.sh, which documents the options. Writes into the folder given by ``--output``:

    raw/{valid,test,test1,...}.LANG     the evaluation texts as they came, one segment a line
    original/{test,test1,...}.LANG      the same before they were tokenized, with ``--original``
    text/{train,valid,test,...}.LANG    the same texts and the training text as tokens
    sentencepiece.model                 the joint subword model, unless ``--pretokenized``
    bpecodes, text/dict.txt             what else ``--vocabulary-of`` takes over from other data
    prepare.json                        what was done
"""

from __future__ import annotations

import argparse
import json
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from scripts.corpora import prepare_subwords, prepare_vocabulary
from scripts.corpora.prepare_copies import copy_checked, copy_originals, open_texts
from scripts.corpora.prepare_subwords import BATCH_LINES, Segmenter
from scripts.corpora.prepare_text import TextError, normalize_space, read_lines

# fairseq's default --max-source-positions and --max-target-positions is 1024, end of sentence
# included. A longer pair stops fairseq-train, so training pairs are cut off there, not earlier.
MAX_TOKENS = 1023
INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp")  # Unicode's control and format characters, and spaces


def note(message: str) -> None:
    """A line of progress on standard error."""
    print(f"prepare.sh: {message}", file=sys.stderr, flush=True)


def segmented(path: Path, segment: Segmenter) -> Iterator[list[str]]:
    """The tokens of each line of a text."""
    return prepare_subwords.segmented(map(normalize_space, read_lines(path)), segment)


def is_visible(tokens: list[str]) -> bool:
    """Whether there is text, and not white space or invisible characters alone.

    ``▁`` is sentencepiece's space.
    """
    marks = (mark for token in tokens for mark in token)
    return any(mark != "▁" and unicodedata.category(mark) not in INVISIBLE for mark in marks)


def write_training(work: Path, langs: tuple[str, str], segment: Segmenter) -> dict[str, int]:
    """Writes the tokens of the training pairs; returns how many were kept and dropped, and why."""
    counts = {"pairs_kept": 0, "dropped_empty": 0, "dropped_long": 0}
    sources = [work / f"train.raw.{lang}" for lang in langs]
    with ExitStack() as stack:
        outputs = open_texts(work, "train", langs, stack)
        sides = [segmented(path, segment) for path in sources]
        for pair in zip(*sides, strict=True):
            if not all(map(is_visible, pair)):
                counts["dropped_empty"] += 1
            elif max(map(len, pair)) > MAX_TOKENS:
                counts["dropped_long"] += 1
            else:
                counts["pairs_kept"] += 1
                for output, tokens in zip(outputs, pair, strict=True):
                    output.write(f"{' '.join(tokens)}\n")
    for path in sources:
        path.unlink()
    return counts


def write_evaluation(
    name: str, langs: tuple[str, str], raw: Path, work: Path, segment: Segmenter
) -> None:
    """Writes the tokens of a validation or test set, every line of it."""
    with ExitStack() as stack:
        for lang, output in zip(langs, open_texts(work, name, langs, stack), strict=True):
            for number, tokens in enumerate(segmented(raw / f"{name}.{lang}", segment), start=1):
                output.write(f"{' '.join(tokens)}\n")
                if len(tokens) > MAX_TOKENS:
                    note(
                        f"warning: raw/{name}.{lang}, line {number}: {len(tokens)} tokens, kept, "
                        f"but a model takes {MAX_TOKENS} unless it is trained with larger "
                        f"--max-source-positions and --max-target-positions"
                    )


def warn_of_marks(train: Iterable[Path], pretokenized: bool, taken_over: bool) -> None:
    """Says so when the training text does not look like what --pretokenized says it is."""
    lines = [line for path in train for line in islice(read_lines(path), BATCH_LINES)]
    marked = sum("@@ " in line for line in lines)
    if pretokenized and not marked and not taken_over:
        note("warning: no '@@ ' in the training text: its words become the vocabulary")
    if not pretokenized and 2 * marked > len(lines):
        note("warning: the training text has BPE marks ('@@ '): was --pretokenized meant?")


def check_evaluation(
    args: argparse.Namespace, langs: tuple[str, str], raw: Path
) -> dict[str, dict[str, object]]:
    """Copies the validation and test sets to `raw`; returns what prepare.json says of them."""
    prefixes = {"valid": args.valid}
    prefixes |= {f"test{index or ''}": test for index, test in enumerate(args.test.split(","))}
    subsets: dict[str, dict[str, object]] = {}
    for name, prefix in prefixes.items():
        note(f"checking {name}: {prefix}")
        pairs = copy_checked(prefix, langs, raw, name, args.pretokenized)
        subsets[name] = {"prefix": Path(prefix).name, "pairs": pairs}
    if args.original:
        copy_originals(args.original.split(","), langs, args.output / "original", subsets)
    return subsets


def choose_subwords(
    args: argparse.Namespace, train: list[Path], pairs: int
) -> tuple[dict[str, object], Segmenter]:
    """Takes over, trains or leaves alone; what prepare.json says of it, and the segmentation."""
    if args.vocabulary_of:
        note(f"taking the vocabulary of {args.vocabulary_of}")
        return prepare_vocabulary.take_over(
            args.vocabulary_of, args.output, args.pretokenized, args.workers
        )
    if args.pretokenized:
        return {"vocab_size": None, "sentencepiece": None}, prepare_subwords.words
    note(f"training one sentencepiece model on both sides of {pairs} pairs")
    model = args.output / "sentencepiece.model"
    subwords = prepare_subwords.train(train, args.vocab_size, model, args.workers)
    return subwords, prepare_subwords.segmenter(model, args.workers)


def prepare(args: argparse.Namespace) -> dict[str, object]:
    """Runs all steps; returns what prepare.json holds."""
    langs = (args.source_lang, args.target_lang)
    raw, work = args.output / "raw", args.output / "text"
    raw.mkdir(parents=True)
    work.mkdir()

    subsets = check_evaluation(args, langs, raw)
    note(f"checking train: {args.train}")
    pairs_read = copy_checked(args.train, langs, work, "train.raw", args.pretokenized)
    train_raw = [work / f"train.raw.{lang}" for lang in langs]
    warn_of_marks(train_raw, args.pretokenized, bool(args.vocabulary_of))

    subwords, segment = choose_subwords(args, train_raw, pairs_read)
    note("writing tokens")
    counts = write_training(work, langs, segment)
    if not counts["pairs_kept"]:
        raise TextError(
            f"{args.train}: of {pairs_read} pairs none is left: {counts['dropped_empty']} have an "
            f"empty side, {counts['dropped_long']} one of more than {MAX_TOKENS} tokens"
        )
    for name in subsets:
        write_evaluation(name, langs, raw, work, segment)
    return {
        "source_lang": langs[0],
        "target_lang": langs[1],
        "pretokenized": args.pretokenized,
        **subwords,  # may say otherwise: the vocabulary is that of pretokenized text
        "max_tokens": MAX_TOKENS,
        "train": {"prefix": Path(args.train).name, "pairs_read": pairs_read, **counts},
        "subsets": subsets,
    }


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for option in ("--source-lang", "--target-lang", "--train", "--valid", "--test"):
        parser.add_argument(option, required=True)
    parser.add_argument("--original")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--vocab-size", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--pretokenized", action="store_true")
    parser.add_argument("--vocabulary-of", type=Path)
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
