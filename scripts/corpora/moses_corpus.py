"""The steps of the published preprocessings from file to file: tokens, cleaning, joint BPE.

    moses_corpus.py tokenize  --lang de [--normalize] [--aggressive] [--lowercase] ... IN OUT
    moses_corpus.py clean     --langs de en --ratio 1.5 --max 175 [--retained FILE] IN OUT
    moses_corpus.py learn-bpe --merges 10000 CODES TEXT...
    moses_corpus.py apply-bpe --codes CODES IN OUT

The flags of ``tokenize`` are those of moses_text.Steps. ``clean`` takes and writes prefixes,
PREFIX.LANG. Every text is read line by line, plain or .gz, and
an output appears under its name only when it is complete. Nothing depends on ``--workers``.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, redirect_stderr
from itertools import chain
from pathlib import Path

from scripts.corpora.moses_cleaning import clean
from scripts.corpora.parallel_lines import LineFunction, map_lines
from scripts.corpora.prepare_text import (
    TextError,
    read_lines,
)
from scripts.runs.complete_files import complete

STEPS = (
    "straight_apostrophes",
    "replace_punctuation",
    "normalize",
    "aggressive",
    "no_escape",
    "lowercase",
)
NOTED_LINES = 1_000_000
CACHED_WORDS = 500_000  # a few hundred bytes each, in every worker


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text that appears when it is complete."""
    with complete(path) as output:
        for line in lines:
            output.write(f"{line}\n")


def learn_bpe(texts: list[Path], codes: Path, merges: int) -> int:
    """subword-nmt learn-bpe on all `texts` together; returns the number of merges."""
    from subword_nmt.learn_bpe import learn_bpe as learn

    learned = io.StringIO()
    # Its progress bar is for a terminal only.
    with nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO()):
        try:
            learn(chain.from_iterable(map(read_lines, texts)), learned, merges)
        except ValueError as error:  # max() of no pairs at all
            raise TextError(f"{texts[0]}: no words to learn BPE from ({error})") from error
    lines = learned.getvalue().splitlines()
    write_lines(codes, lines)
    return len(lines) - 1  # the first is the version


def segmenter(codes: str) -> LineFunction:
    """The function from tokens to the pieces that subword-nmt apply-bpe makes of them."""
    from subword_nmt.apply_bpe import BPE

    with open(codes, encoding="utf-8") as file:
        bpe = BPE(file)

    def segment(line: str) -> str:
        if len(bpe.cache) > CACHED_WORDS:  # it keeps every word that it has seen
            bpe.cache.clear()
        pieces: str = bpe.segment(line)
        return pieces

    return segment


def counted(path: Path) -> Iterator[str]:
    """The lines of a text, with a note after every million of them."""
    for count, line in enumerate(read_lines(path), start=1):
        yield line
        if count % NOTED_LINES == 0:
            print(f"moses_corpus.py: {path.name}: {count:,} lines", file=sys.stderr, flush=True)


def parse() -> argparse.Namespace:
    """The command line; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    tokenize = commands.add_parser("tokenize")
    tokenize.add_argument("--lang", required=True)
    for step in STEPS:
        tokenize.add_argument(f"--{step.replace('_', '-')}", action="store_true")
    apply = commands.add_parser("apply-bpe")
    apply.add_argument("--codes", type=Path, required=True)
    for command in (tokenize, apply):
        command.add_argument("--workers", type=int, default=1)
        command.add_argument("input", type=Path)
        command.add_argument("output", type=Path)
    cleaning = commands.add_parser("clean")
    cleaning.add_argument("--langs", nargs=2, required=True)
    cleaning.add_argument("--ratio", type=float, required=True)
    cleaning.add_argument("--max", type=int, required=True)
    cleaning.add_argument("--retained", type=Path)
    cleaning.add_argument("input")
    cleaning.add_argument("output")
    learn = commands.add_parser("learn-bpe")
    learn.add_argument("--merges", type=int, required=True)
    learn.add_argument("codes", type=Path)
    learn.add_argument("texts", type=Path, nargs="+")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    """Run one command."""
    if args.command == "tokenize":
        from scripts.corpora import (
            moses_text,  # here, because the other steps do without sacremoses, which loads slowly
        )

        moses_text.check_language(args.lang)
        steps = moses_text.Steps(args.lang, **{step: getattr(args, step) for step in STEPS})
        lines = map_lines(moses_text.tokenizer, (steps,), counted(args.input), args.workers)
        write_lines(args.output, lines)
    elif args.command == "apply-bpe":
        segmenter(str(args.codes))  # so that an unreadable file is known before the workers start
        lines = map_lines(segmenter, (str(args.codes),), counted(args.input), args.workers)
        write_lines(args.output, lines)
    elif args.command == "clean":
        langs = (args.langs[0], args.langs[1])
        counts = clean(args.input, args.output, langs, args.ratio, args.max, args.retained)
        print(json.dumps(counts))
    else:
        merges = learn_bpe(args.texts, args.codes, args.merges)
        if merges < args.merges:
            print(
                f"moses_corpus.py: the text allows {merges} merges of {args.merges}: no further "
                f"pair of pieces occurs twice",
                file=sys.stderr,
            )


def main() -> int:
    """The command line; returns the exit status."""
    try:
        run(parse())
    except (TextError, OSError) as error:
        print(f"moses_corpus.py: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
