"""Writes the demo's German-English corpus: train, valid and test, from one seed.

The same arguments give the same files byte for byte. Validation and test sentences never occur in
training, on neither side, and no German sentence occurs twice.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from examples.translation.demo.german_english.lexicon import Lexicon
from examples.translation.demo.german_english.readers import LexiconError, load_lexicon
from examples.translation.demo.german_english.sentences import Pair
from examples.translation.demo.german_english.writer import SentenceWriter
from scripts.runs.options import positive

LANGUAGES = ("de", "en")
# A draw that has been seen is drawn again; so many in a row mean that the grammar is exhausted.
MOST_REPEATS = 10_000


class CorpusError(RuntimeError):
    """The grammar cannot write as many different sentences as asked for."""


def draw_pairs(
    writer: SentenceWriter, count: int, german_seen: set[str], english_banned: set[str]
) -> list[Pair]:
    """``count`` pairs with new German sides, none of whose English sides is banned."""
    pairs: list[Pair] = []
    repeats = 0
    while len(pairs) < count:
        german, english = writer.pair()
        if german in german_seen or english in english_banned:
            repeats += 1
            if repeats > MOST_REPEATS:
                raise CorpusError(
                    f"only {len(pairs)} of {count} different sentences: ask for fewer"
                )
            continue
        repeats = 0
        german_seen.add(german)
        pairs.append((german, english))
    return pairs


def generate(sizes: dict[str, int], seed: int, lexicon: Lexicon) -> dict[str, list[Pair]]:
    """The subsets of ``sizes`` in its order; later ones avoid both sides of earlier ones."""
    writer = SentenceWriter(seed, lexicon)
    german_seen: set[str] = set()
    english_banned: set[str] = set()
    subsets: dict[str, list[Pair]] = {}
    for name, count in sizes.items():
        subsets[name] = draw_pairs(writer, count, german_seen, english_banned)
        english_banned.update(english for _, english in subsets[name])
    return subsets


def write(subsets: dict[str, list[Pair]], output: Path) -> None:
    """Writes ``NAME.de`` and ``NAME.en`` into ``output``, aside first and renamed when complete."""
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        for name, pairs in subsets.items():
            for language, lines in zip(LANGUAGES, zip(*pairs)):
                text = "".join(f"{line}\n" for line in lines)
                (aside / f"{name}.{language}").write_text(text, encoding="utf-8", newline="\n")
        aside.chmod(0o755)
        aside.rename(output)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--output", type=Path, required=True, help="a folder that does not exist yet"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--train", type=positive, default=20_000, help="pairs (default 20000)")
    parser.add_argument("--valid", type=positive, default=1_000, help="pairs (default 1000)")
    parser.add_argument("--test", type=positive, default=1_000, help="pairs (default 1000)")
    options = parser.parse_args()
    if options.output.exists():
        parser.error(f"{options.output} exists: delete it first, or give another --output")
    sizes = {"test": options.test, "valid": options.valid, "train": options.train}
    try:
        write(generate(sizes, options.seed, load_lexicon()), options.output)
    except (CorpusError, LexiconError, OSError) as error:
        print(f"generate_corpus.py: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
