"""Documents and summaries into GPT-2's BPE for fairseq-preprocess. Used by prepare_cnn_dm.sh.

Writes into a new folder text/{train,valid,test}.{source,target} (tokens),
raw/{valid,test}.{source,target} (one document a line; a tab in a target ends a sentence, where the
files say so) and prepare.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import tee
from pathlib import Path
from typing import TextIO

from examples.summarization import documents
from examples.summarization.documents import Document
from scripts.corpora.gpt2_bpe import gpt2
from scripts.corpora.parallel_lines import map_lines
from scripts.corpora.prepare_copies import open_texts
from scripts.corpora.prepare_text import TextError
from scripts.runs.complete_folders import aside

# fairseq's name of a split, and the names it has in the public files.
SPLITS = {"train": ("train",), "valid": ("validation", "valid", "val"), "test": ("test",)}
SIDES = ("source", "target")
# What BART takes, without the end-of-sentence mark. Longer sources are cut when they are read
# (--truncate-source), as in the published recipe.
MAX_TOKENS = 1023

# A document with the tokens of its text and of its summary.
Encoded = tuple[Document, list[str], list[str]]
Encode = Callable[[Iterable[Document]], Iterator[Encoded]]


def note(message: str) -> None:
    """A line of progress on standard error."""
    print(f"prepare_cnn_dm.sh: {message}", file=sys.stderr, flush=True)


def write_line(outputs: list[TextIO], pair: tuple[str, str]) -> None:
    """Write a line to each of two files."""
    for output, line in zip(outputs, pair, strict=True):
        output.write(f"{line}\n")


def encoded(bpe: Path, workers: int, texts: Iterable[Document]) -> Iterator[Encoded]:
    """Each document with its tokens, in order; encoded in ``workers`` processes."""
    kept, sent = tee(texts)
    lines = (line for document in sent for line in (document.source, document.summary))
    tokens = map(str.split, map_lines(gpt2, (str(bpe),), lines, workers))
    yield from zip(kept, tokens, tokens)  # two lines a document


def counted(name: str, paths: list[Path]) -> Iterator[Document]:
    """The documents of the files, with a note now and then."""
    note(f"{name}: {', '.join(path.name for path in paths)}")
    for number, document in enumerate(documents.read(paths), start=1):
        if number % 50_000 == 0:
            note(f"{name}: {number:,} documents")
        yield document


def write_training(output: Path, paths: list[Path], encode: Encode) -> dict[str, int]:
    """The training pairs that can be trained on; returns how many, and how many cannot."""
    counts = {"pairs_read": 0, "pairs_kept": 0, "dropped_empty": 0, "dropped_long": 0}
    with ExitStack() as stack:
        tokens = open_texts(output / "text", "train", SIDES, stack)
        for _, source, target in encode(counted("train", paths)):
            counts["pairs_read"] += 1
            if not (source and target):
                counts["dropped_empty"] += 1
            elif len(target) > MAX_TOKENS:
                counts["dropped_long"] += 1
            else:
                counts["pairs_kept"] += 1
                write_line(tokens, (" ".join(source), " ".join(target)))
    if not counts["pairs_kept"]:
        raise TextError(f"{paths[0]}: none of {counts['pairs_read']} documents can be trained on")
    return counts


def write_evaluation(
    output: Path, name: str, paths: list[Path], encode: Encode
) -> dict[str, object]:
    """Every pair of a validation or test set.

    A target longer than BART takes is cut in the tokens (only the validation loss reads them), not
    in the raw text.
    """
    pairs = shortened = 0
    sentences_known = False
    with ExitStack() as stack:
        tokens = open_texts(output / "text", name, SIDES, stack)
        raw = open_texts(output / "raw", name, SIDES, stack)
        for document, source, target in encode(counted(name, paths)):
            pairs += 1
            shortened += len(target) > MAX_TOKENS
            sentences_known |= len(document.sentences) > 1
            write_line(tokens, (" ".join(source), " ".join(target[:MAX_TOKENS])))
            write_line(raw, (document.source, "\t".join(document.sentences)))
    if not pairs:
        raise TextError(f"{paths[0]}: no documents")
    return {"pairs": pairs, "shortened": shortened, "reference_sentences": sentences_known}


def prepare(corpus: Path, bpe: Path, output: Path, workers: int) -> dict[str, object]:
    """Writes all files; returns what prepare.json holds."""
    # All are looked for first: a missing test set should not be found out after an hour.
    found = {name: documents.find(corpus, names) for name, names in SPLITS.items()}
    encode = partial(encoded, bpe, workers)
    for folder in ("text", "raw"):
        (output / folder).mkdir(exist_ok=True)
    evaluation = {
        name: write_evaluation(output, name, found[name], encode) for name in ("valid", "test")
    }
    train = write_training(output, found["train"], encode)
    prefixes = {name: paths[0].name.split(".")[0] for name, paths in found.items()}
    return {
        "source_lang": "source",
        "target_lang": "target",
        "bpe": "gpt2",
        "max_tokens": MAX_TOKENS,
        "train": {"prefix": prefixes["train"], **train},
        "subsets": {
            name: {"prefix": prefixes[name], **counts} for name, counts in evaluation.items()
        },
    }


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("--corpus", "--bpe", "--output"):
        parser.add_argument(option, type=Path, required=True)
    parser.add_argument("--workers", type=int, required=True)
    options = parser.parse_args()
    try:
        with aside(options.output) as output:
            output.mkdir()
            done = prepare(options.corpus, options.bpe, output, options.workers)
            described = json.dumps(done, indent=2, ensure_ascii=False)
            (output / "prepare.json").write_text(f"{described}\n", encoding="utf-8")
    except (TextError, OSError) as error:
        print(f"prepare_cnn_dm.sh: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
