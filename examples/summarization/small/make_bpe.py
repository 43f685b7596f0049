"""A byte-level BPE in the format of GPT-2's public files, learnt from a small corpus.

    make_bpe.py --merges 400 --output DIR TEXT...

Writes encoder.json, vocab.bpe and dict.txt, which prepare_cnn_dm.sh takes with --bpe. It counts all
pairs again for each merge: enough for a few hundred different words.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from fairseq.data.encoders.gpt2_bpe_utils import Encoder, bytes_to_unicode

Pair = tuple[str, str]
Word = tuple[str, ...]


def words_of(texts: list[Path]) -> Counter[Word]:
    """How often each word occurs, as GPT-2 divides text into words and writes their bytes."""
    characters = bytes_to_unicode()
    divide = Encoder({}, []).pat
    words: Counter[str] = Counter()
    for path in texts:
        for line in path.read_text(encoding="utf-8").split("\n"):
            words.update(divide.findall(" ".join(line.split())))  # as prepare_cnn_dm.sh does
    return Counter(
        {tuple(characters[byte] for byte in w.encode()): count for w, count in words.items()}
    )


def join(word: Word, pair: Pair) -> Word:
    """The word with every occurrence of the pair made one symbol."""
    symbols: list[str] = []
    position = 0
    while position < len(word):
        width = 2 if word[position : position + 2] == pair else 1
        symbols.append("".join(word[position : position + width]))
        position += width
    return tuple(symbols)


def learn(words: Counter[Word], merges: int) -> list[Pair]:
    """The pairs to merge, in order; fewer where nothing is left to merge."""
    learnt: list[Pair] = []
    for _ in range(merges):
        pairs: Counter[Pair] = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        learnt.append(best)
        words = Counter({join(word, best): count for word, count in words.items()})
    return learnt


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--merges", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("texts", type=Path, nargs="+")
    options = parser.parse_args()
    merges = learn(words_of(options.texts), options.merges)
    # As in GPT-2's: the 256 bytes first, then what the merges make.
    symbols = dict.fromkeys([*bytes_to_unicode().values(), *map("".join, merges)])
    encoder = {symbol: number for number, symbol in enumerate(symbols)}
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "encoder.json").write_text(json.dumps(encoder), encoding="utf-8")
    lines = ["#version: 0.2", *map(" ".join, merges)]
    (options.output / "vocab.bpe").write_text("\n".join(lines) + "\n", encoding="utf-8")
    # fairseq's dictionary: its tokens are the numbers above. The counts do not matter.
    dictionary = "".join(f"{number} 1\n" for number in encoder.values())
    (options.output / "dict.txt").write_text(dictionary, encoding="utf-8")


if __name__ == "__main__":
    main()
