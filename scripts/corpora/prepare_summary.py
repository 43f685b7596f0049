"""Checks the data directory that fairseq-preprocess wrote against prepare.json and describes it.

Called by prepare.sh with the directory. Adds the dictionary's size and identity, and per subset and
language the tokens and the unknown ones, to prepare.json, and prints them as a table on stdout.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDataset, best_fitting_int_dtype

from lrdrop_fairseq.vocabulary import fingerprint

HEADER = ("subset", "prefix", "pairs", "tokens/line", "unknown")


def count_tokens(data: Path, name: str, pair: str, lang: str, dictionary: Any) -> dict[str, int]:
    """Lines, tokens without the ends of sentences, and unknown tokens of one side of a subset."""
    prefix = data / f"{name}.{pair}.{lang}"
    dataset = MMapIndexedDataset(str(prefix))  # unmaps its sizes when it goes: copy them
    sizes = dataset.sizes.copy()
    ids = np.fromfile(f"{prefix}.bin", dtype=best_fitting_int_dtype(len(dictionary)))
    if len(ids) != sizes.sum():
        raise SystemExit(f"prepare.sh: error: {prefix}.bin and .idx do not belong together")
    return {
        "lines": len(sizes),
        "tokens": len(ids) - len(sizes),
        "unknown": int((ids == dictionary.unk()).sum()),
    }


def describe(data: Path, done: dict[str, Any]) -> None:
    """Adds the counts to `done`, the content of prepare.json.

    Ends the program when a subset does not have as many lines as were written for it.
    """
    langs = (done["source_lang"], done["target_lang"])
    dictionary = Dictionary.load(str(data / f"dict.{langs[0]}.txt"))
    done["dictionary_size"] = len(dictionary)
    done["dictionary_sha256"] = fingerprint(dictionary.symbols)
    subsets = {"train": done["train"], **done["subsets"]}
    for name, subset in subsets.items():
        expected = subset["pairs_kept"] if name == "train" else subset["pairs"]
        for side, lang in zip(("source", "target"), langs, strict=True):
            counts = count_tokens(data, name, "-".join(langs), lang, dictionary)
            if counts.pop("lines") != expected:
                raise SystemExit(
                    f"prepare.sh: error: fairseq-preprocess did not write {expected} lines for "
                    f"{name}.{lang}"
                )
            subset[side] = counts


def table(done: dict[str, Any]) -> str:
    """The subsets, one a row: tokens per line and the share of unknown tokens, for either side."""
    langs = f"{done['source_lang']} | {done['target_lang']}"
    rows = [[*HEADER[:3], f"{HEADER[3]} {langs}", f"{HEADER[4]} {langs}"]]
    for name, subset in {"train": done["train"], **done["subsets"]}.items():
        pairs = subset["pairs_kept"] if name == "train" else subset["pairs"]
        sides = (subset["source"], subset["target"])
        lengths = " | ".join(f"{side['tokens'] / pairs:.1f}" for side in sides)
        unknown = " | ".join(f"{side['unknown'] / max(side['tokens'], 1):.3%}" for side in sides)
        rows.append([name, subset["prefix"], f"{pairs:,}", lengths, unknown])
    train = done["train"]
    lines = [
        *aligned(rows),
        "",
        f"train: {train['pairs_read']:,} pairs read, {train['dropped_empty']:,} dropped with an "
        f"empty side, {train['dropped_long']:,} with more than {done['max_tokens']} tokens",
        f"dictionary: {done['dictionary_size']:,} types, the same for both languages",
    ]
    return "\n".join(lines)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows of a table as lines, two spaces between columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [[c.ljust(w) for c, w in zip(row, widths, strict=True)] for row in rows]
    return ["  ".join(row).rstrip() for row in cells]


def complete_record(
    data: Path,
    describe: Callable[[Path, dict[str, Any]], None],
    table: Callable[[dict[str, Any]], str],
) -> None:
    """Adds what ``describe`` finds in a data directory to its prepare.json; prints its table."""
    record = data / "prepare.json"
    done = json.loads(record.read_text(encoding="utf-8"))
    describe(data, done)
    text = json.dumps(done, indent=2, ensure_ascii=False)
    record.write_text(f"{text}\n", encoding="utf-8")
    print(table(done))


def main() -> None:
    """The command line: the data directory."""
    complete_record(Path(sys.argv[1]), describe, table)


if __name__ == "__main__":
    main()
