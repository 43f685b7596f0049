"""Documents and summaries into BPE tokens for fairseq-preprocess. Used by prepare_cnn_dm.sh.

Writes text/{train,valid,test}.{source,target} (tokens), raw/{valid,test}.{source,target} (one
document a line; a tab in a target ends a sentence, where the files say so) and prepare.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import documents
from encode import Encoder
from prepare_text import TextError

# fairseq's name of a split, and the names it has in the public files.
SPLITS = {"train": ("train",), "valid": ("validation", "valid", "val"), "test": ("test",)}
SIDES = ("source", "target")
# What BART takes, without the end-of-sentence mark. Longer sources are cut when they are read
# (--truncate-source), as in the published recipe.
MAX_TOKENS = 1023


def note(message: str) -> None:
    print(f"prepare_cnn_dm.sh: {message}", file=sys.stderr, flush=True)


def open_pair(folder: Path, name: str, stack: ExitStack) -> list[TextIO]:
    """The two files of a split, open for writing until ``stack`` closes."""
    folder.mkdir(exist_ok=True)
    paths = (folder / f"{name}.{side}" for side in SIDES)
    return [stack.enter_context(p.open("w", encoding="utf-8", newline="\n")) for p in paths]


def write_line(outputs: list[TextIO], pair: tuple[str, str]) -> None:
    for output, line in zip(outputs, pair, strict=True):
        output.write(f"{line}\n")


def text(tokens: list[int]) -> str:
    return " ".join(map(str, tokens))


def counted(name: str, paths: list[Path]) -> Iterator[documents.Document]:
    """The documents of the files, with a note now and then."""
    note(f"{name}: {', '.join(path.name for path in paths)}")
    for number, document in enumerate(documents.read(paths), start=1):
        if number % 50_000 == 0:
            note(f"{name}: {number:,} documents")
        yield document


def write_training(output: Path, paths: list[Path], encode: Encoder) -> dict[str, int]:
    """The training pairs that can be trained on; returns how many, and how many cannot."""
    counts = {"pairs_read": 0, "pairs_kept": 0, "dropped_empty": 0, "dropped_long": 0}
    with ExitStack() as stack:
        tokens = open_pair(output / "text", "train", stack)
        for _, source, target in encode(counted("train", paths)):
            counts["pairs_read"] += 1
            if not (source and target):
                counts["dropped_empty"] += 1
            elif len(target) > MAX_TOKENS:
                counts["dropped_long"] += 1
            else:
                counts["pairs_kept"] += 1
                write_line(tokens, (text(source), text(target)))
    if not counts["pairs_kept"]:
        raise TextError(f"{paths[0]}: none of {counts['pairs_read']} documents can be trained on")
    return counts


def write_evaluation(
    output: Path, name: str, paths: list[Path], encode: Encoder
) -> dict[str, object]:
    """Every pair of a validation or test set. A target longer than BART takes is cut in the tokens
    (only the validation loss reads them), not in the raw text."""
    pairs = shortened = 0
    sentences_known = False
    with ExitStack() as stack:
        tokens = open_pair(output / "text", name, stack)
        raw = open_pair(output / "raw", name, stack)
        for document, source, target in encode(counted(name, paths)):
            pairs += 1
            shortened += len(target) > MAX_TOKENS
            sentences_known |= len(document.sentences) > 1
            write_line(tokens, (text(source), text(target[:MAX_TOKENS])))
            write_line(raw, (document.source, "\t".join(document.sentences)))
    if not pairs:
        raise TextError(f"{paths[0]}: no documents")
    return {"pairs": pairs, "shortened": shortened, "reference_sentences": sentences_known}


def prepare(corpus: Path, bpe: Path, output: Path, workers: int) -> dict[str, object]:
    """Writes all files; returns what prepare.json holds."""
    # All are looked for first: a missing test set should not be found out after an hour.
    found = {name: documents.find(corpus, names) for name, names in SPLITS.items()}
    with Encoder(bpe, workers) as encode:
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
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("--corpus", "--bpe", "--output"):
        parser.add_argument(option, type=Path, required=True)
    parser.add_argument("--workers", type=int, required=True)
    options = parser.parse_args()
    try:
        done = prepare(options.corpus, options.bpe, options.output, options.workers)
    except TextError as error:
        print(f"prepare_cnn_dm.sh: error: {error}", file=sys.stderr)
        return 1
    except BrokenProcessPool:
        print(
            "prepare_cnn_dm.sh: error: a process that encodes was killed, or could not read "
            f"encoder.json and vocab.bpe in {options.bpe}: what it said is above; if it said "
            "nothing, memory was short: take fewer --workers",
            file=sys.stderr,
        )
        return 1
    described = json.dumps(done, indent=2, ensure_ascii=False)
    (options.output / "prepare.json").write_text(f"{described}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
