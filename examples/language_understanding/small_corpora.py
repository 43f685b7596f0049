"""Writes small corpora in the layouts of CoLA, MRPC and STS-B, and GPT-2 BPE files for their words.

    small_corpora.py OUTPUT

The sentences are made by a grammar of a few dozen words, so that a very small model learns them in
seconds.  They stand in for GLUE where a run is to be tried out, and say nothing about language:
acceptability is word order, and what makes a paraphrase a false or a pair less similar are words
that occur in no other place.  A tenth of the labels are wrong, so that no score is 100.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode

ADJECTIVES = "small old quiet red happy tired young green".split()
NOUNS = "dog teacher river house child bird farmer train".split()
VERBS = "sleeps waits sings moves works stops returns waves".split()
PLACES = "here there outside today often again".split()
# Words of the second sentence of a pair that say something else than the first one.
OTHERS = "never hardly without nobody".split()
SUBSETS = ("train", "dev", "test")
NOISE = 0.1  # part of the labels that are wrong
EXAMPLES, SEED = 800, 1  # of each task's training file

Row = tuple[str, ...]


def sentence(draw: random.Random) -> list[str]:
    """An acceptable sentence of five words."""
    groups = (ADJECTIVES, NOUNS, VERBS, PLACES)
    return ["the", *(draw.choice(group) for group in groups)]


def changed(words: list[str], count: int, draw: random.Random) -> list[str]:
    """The sentence with `count` of its last four words replaced."""
    copy = list(words)
    for place in draw.sample(range(1, len(words)), count):
        copy[place] = draw.choice(OTHERS)
    return copy


def noisy(label: int, draw: random.Random) -> str:
    """A label of 0 or 1, now and then the wrong one."""
    return str(1 - label if draw.random() < NOISE else label)


def cola(index: int, subset: str, draw: random.Random) -> Row:
    """A line of CoLA: acceptable, or with two neighbouring words in the wrong order."""
    words, label = sentence(draw), draw.randrange(2)
    if label == 0:
        place = draw.randrange(3)
        words[place], words[place + 1] = words[place + 1], words[place]
    text = " ".join(words)
    if subset == "test":
        return (str(index), text)
    return ("made", noisy(label, draw), "" if label else "*", text)


def mrpc(index: int, subset: str, draw: random.Random) -> Row:
    """A line of MRPC: a paraphrase, or a sentence with one to three other words."""
    words, label = sentence(draw), draw.randrange(2)
    other = changed(words, 0 if label else draw.randint(1, 3), draw)
    first = str(index) if subset == "test" else noisy(label, draw)
    numbers = (str(2 * index), str(2 * index + 1))
    return (first, *numbers, " ".join(words), " ".join(other))


def stsb(index: int, subset: str, draw: random.Random) -> Row:
    """A line of STS-B: the score falls by 1.25 with each of up to four other words."""
    words, count = sentence(draw), draw.randint(0, 4)
    pair = (" ".join(words), " ".join(changed(words, count, draw)))
    judged = min(5.0, max(0.0, 5 - 1.25 * count + draw.gauss(0, 5 * NOISE)))
    score = () if subset == "test" else (f"{judged:.3f}",)
    return (str(index), "made", "small", "2024", str(index), "none", "none", *pair, *score)


MSR = ("#1 ID", "#2 ID", "#1 String", "#2 String")
STS = ("index", "genre", "filename", "year", "old_index", "source1", "source2")
STS_PAIR = ("sentence1", "sentence2")
# For each task: what makes a line, the header of train and dev (CoLA has none), that of test.
TASKS: dict[str, tuple[Callable[[int, str, random.Random], Row], Row, Row]] = {
    "CoLA": (cola, (), ("index", "sentence")),
    "MRPC": (mrpc, ("Quality", *MSR), ("index", *MSR)),
    "STS-B": (stsb, (*STS, *STS_PAIR, "score"), (*STS, *STS_PAIR)),
}


def write_task(output: Path, task: str, examples: int, seed: int) -> None:
    """OUTPUT/TASK with train.tsv, dev.tsv and test.tsv, the last two a quarter as large."""
    make, header, test_header = TASKS[task]
    folder = output / task
    folder.mkdir(parents=True)
    for subset in SUBSETS:
        draw = random.Random(f"{task} {subset} {seed}")
        count = examples if subset == "train" else examples // 4
        rows = [make(index, subset, draw) for index in range(count)]
        names = test_header if subset == "test" else header
        lines = "".join("\t".join(row) + "\n" for row in ([names] if names else []) + rows)
        (folder / f"{subset}.tsv").write_text(lines, encoding="utf-8")


def merges(words: list[str]) -> Iterator[tuple[str, str]]:
    """GPT-2 merges that build each word, with the space before it, from the left."""
    space = bytes_to_unicode()[ord(" ")]
    seen = set()
    for word in words:
        for end in range(len(word)):
            pair = (space + word[:end], word[end])
            if pair not in seen:
                seen.add(pair)
                yield pair


def write_bpe(output: Path) -> None:
    """encoder.json, vocab.bpe and dict.txt in the format of the public files."""
    pairs = list(merges(["the", *ADJECTIVES, *NOUNS, *VERBS, *PLACES, *OTHERS]))
    pieces = [*bytes_to_unicode().values(), *(first + second for first, second in pairs)]
    encoder = {piece: number for number, piece in enumerate(pieces)}
    (output / "encoder.json").write_text(json.dumps(encoder), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{first} {second}" for first, second in pairs)]
    (output / "vocab.bpe").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    counts = "".join(f"{number} 1\n" for number in encoder.values())
    (output / "dict.txt").write_text(counts, encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    for task in TASKS:
        write_task(options.output, task, EXAMPLES, SEED)
    write_bpe(options.output)


if __name__ == "__main__":
    main()
