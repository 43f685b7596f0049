"""What the data directory of a training says: the pieces, and the labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrdrop_fairseq.checkpoints.export_options import ExportError
from lrdrop_fairseq.import_encoder.vocabulary import MASK
from lrdrop_fairseq.vocabulary import LABELS, differing, fingerprint, saved


def pieces_of(data: Path) -> Any:
    """The dictionary of the text as fairseq's task has it, ``<mask>`` at its end."""
    path = data / "input0" / "dict.txt"
    dictionary = _dictionary(path)
    if dictionary.add_symbol(MASK) != len(dictionary) - 1:
        raise ExportError(f"{path} has a {MASK}, which fairseq's task would add at the end")
    return dictionary


def check_dictionaries(extra_state: Any, data: Path) -> None:
    """Compare the pieces and labels of a data directory with those that a checkpoint names.

    A checkpoint of plain fairseq names none.

    Raises:
        ExportError: it was trained with others, or with the same in another order.
    """
    paths = {"source": data / "input0" / "dict.txt", LABELS: data / "label" / "dict.txt"}
    there = saved(extra_state)
    here = {name: fingerprint(_dictionary(paths[name]).symbols) for name in paths if name in there}
    if names := differing(there, here):
        differ = " and ".join(str(paths[name]) for name in names)
        raise ExportError(
            f"it was trained with another dictionary than {differ}: other words, or the same in "
            "another order; name the data directory of the training with --data"
        )


def _dictionary(path: Path) -> Any:
    """One of fairseq's dictionaries of the data directory."""
    from fairseq.data import Dictionary

    if not path.is_file():
        raise ExportError(
            f"{path} does not exist: the data directory of the training is needed for its "
            "dictionaries; if it has moved, name it with --data"
        )
    try:
        return Dictionary.load(str(path))
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ExportError(f"{path}: not a dictionary of fairseq ({reason})") from error


def labels_of(data: Path, options: Mapping[str, Any]) -> list[str] | None:
    """The labels in the order of the outputs; None for a regression, which has no names."""
    if options.get("regression_target"):
        return None
    path = data / "label" / "dict.txt"
    found = _dictionary(path)
    # fairseq-preprocess makes the size a round number with words of its own, that never occur.
    labels = [
        symbol
        for symbol, count in zip(found.symbols, found.count)
        if found.index(symbol) >= found.nspecial
        and not (symbol.startswith("madeupword") and count == 0)
    ]
    if len(labels) != options["num_classes"]:
        raise ExportError(
            f"{path} has {len(labels)} labels, but the model was trained with --num-classes "
            f"{options['num_classes']}: is it the data directory of the training?"
        )
    return labels
