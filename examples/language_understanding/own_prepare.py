"""Turns a user's own labelled text into the directory that fairseq's sentence_prediction reads.

Used by prepare_text.sh, which renames OUTPUT when it is complete.  With --existing it only says
whether that directory was made of the same files in the same way.  What takes seconds to import is
imported when the files are read, so that one learns at once what is wrong with them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.language_understanding import own_labels
from examples.language_understanding.encoders import TextEncoder
from examples.language_understanding.own_files import Table, read
from examples.language_understanding.own_options import (
    check_existing,
    columns,
    made_of,
    open_encoder,
    parse,
    subsets,
)
from examples.language_understanding.own_report import report
from examples.language_understanding.sentence_tasks import OWN_TEXT, TaskError, read_tasks

if TYPE_CHECKING:
    from examples.language_understanding.binarize import Written


def read_all(options: argparse.Namespace) -> dict[str, Table]:
    """Every file, read; TaskError where one is not as it should be."""
    tables: dict[str, Table] = {}
    for subset, path in subsets(options).items():
        tables[subset] = read(path, columns(options), tables.get("train"))
    return tables


def in_train(tables: Mapping[str, Table], subset: str) -> int:
    """How many rows of a subset have their text in the training too."""
    seen = {row.texts for row in tables["train"].rows}
    return 0 if subset == "train" else sum(row.texts in seen for row in tables[subset].rows)


def write_data(
    output: Path, tables: Mapping[str, Table], labels: tuple[str, ...], encoder: TextEncoder
) -> dict[str, Written]:
    """Write all but prepare.json."""
    from examples.language_understanding.binarize import (
        write_classes,
        write_inputs,
        write_numbers,
    )

    labelled = {subset: [row.label for row in table.rows] for subset, table in tables.items()}
    if labels:
        write_classes(output / "label", labels, labelled)
    else:
        write_numbers(output / "label", labelled)
    texts = {subset: [row.texts for row in table.rows] for subset, table in tables.items()}
    written = write_inputs(output, texts, encoder)
    (output / "lines").mkdir()
    for subset, table in tables.items():
        lines = "".join(f"{row.line}\n" for row in table.rows)
        (output / "lines" / f"{subset}.txt").write_text(lines, encoding="utf-8")
    encoder.copy_to(output / "encoder")
    return written


def prepare(options: argparse.Namespace) -> dict[str, Any]:
    """Write the whole directory but prepare.json; returns what that says."""
    tables = read_all(options)
    labels: tuple[str, ...] = ()
    if options.regression:
        own_labels.check_numbers(tables)
    else:
        labels = own_labels.classes(tables)
    encoder = open_encoder(options)
    written = write_data(options.output, tables, labels, encoder)
    described = {
        subset: {
            "file": table.path.name,
            "examples": len(table.rows),
            "empty_lines": table.empty_lines,
            "also_in_train": in_train(tables, subset),
            "unknown_symbols": written[subset].unknown,
            "cut": written[subset].cut,
            **own_labels.describe(table, options.regression),
        }
        for subset, table in tables.items()
    }
    return {
        "task": options.name,
        "kind": OWN_TEXT,
        "classes": len(labels) or 1,
        "labels": list(labels),
        "metric": "pearson_and_spearman" if options.regression else "accuracy",
        "pairs": len(tables["train"].rows[0].texts) == 2,
        "subsets": described,
        "encoder": encoder.describe(),
        "made_of": made_of(options),
    }


def main() -> int:
    """The command line; returns the exit status."""
    options = parse()
    try:
        for path in subsets(options).values():
            if not path.is_file():
                raise TaskError(f"{path} does not exist, or is no file")
        if options.name in read_tasks():
            raise TaskError(f"'{options.name}' is a task of GLUE: give your own text another name")
        if options.existing:
            check_existing(options)
            return 0
        described = prepare(options)
    except (TaskError, OSError) as error:
        print(f"prepare_text.sh: error: {error}", file=sys.stderr)
        return 1
    text = json.dumps(described, indent=2, ensure_ascii=False)
    (options.output / "prepare.json").write_text(f"{text}\n", encoding="utf-8")
    for line in report(described):
        print(f"  {line}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
