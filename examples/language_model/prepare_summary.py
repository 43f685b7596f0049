"""Checks what fairseq-preprocess wrote against prepare.json and describes it. Called by prepare.sh.

Adds the dictionary's size and identity, and of each subset the tokens and the unknown ones, to
prepare.json, and prints them as a table.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDataset, best_fitting_int_dtype

from lrdrop_fairseq.vocabulary import fingerprint
from scripts.corpora.prepare_summary import aligned, complete_record


def describe(data: Path, done: dict[str, Any]) -> None:
    """Add the counts to ``done``, the content of prepare.json.

    Ends the program when a subset does not have as many lines as were written for it.
    """
    dictionary = Dictionary.load(str(data / "dict.txt"))
    done["dictionary_size"] = len(dictionary)
    done["dictionary_sha256"] = fingerprint(dictionary.symbols)
    for name, subset in done["subsets"].items():
        dataset = MMapIndexedDataset(str(data / name))  # unmaps its sizes when it goes: copy them
        sizes = dataset.sizes.copy()
        ids = np.fromfile(data / f"{name}.bin", dtype=best_fitting_int_dtype(len(dictionary)))
        if len(sizes) != subset["lines"] or len(ids) != sizes.sum():
            raise SystemExit(
                f"prepare.sh: error: fairseq-preprocess did not write {subset['lines']} lines for "
                f"{name}"
            )
        subset["tokens"] = len(ids)  # the ends of lines included: a model predicts them too
        subset["unknown"] = int((ids == dictionary.unk()).sum())


def table(done: dict[str, Any]) -> str:
    """The subsets, one a row."""
    unit = f"{done['unit']}s with ends of lines"
    rows = [["subset", "file", "lines", "empty", "words", unit, "unknown"]]
    for name, subset in done["subsets"].items():
        numbers = [f"{subset[key]:,}" for key in ("lines", "empty", "words", "tokens")]
        share = f"{subset['unknown'] / max(subset['tokens'], 1):.3%}"
        rows.append([name, subset["file"], *numbers, share])
    return "\n".join([*aligned(rows), "", f"dictionary: {done['dictionary_size']:,} types"])


def main() -> None:
    """The command line: the data directory."""
    complete_record(Path(sys.argv[1]), describe, table)


if __name__ == "__main__":
    main()
