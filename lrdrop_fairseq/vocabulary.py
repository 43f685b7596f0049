"""The identity of a model's dictionaries, which a checkpoint carries and its data must share.

An embedding stands for the word at its place in the dictionary.  fairseq saves no dictionary and
compares sizes alone, so a model runs on data that were prepared with other words as long as there
are as many of them, and nothing but its output shows it.  Here the checkpoint says which
dictionaries it was trained with, in its ``extra_state``::

    {"dictionaries": {"source": "<SHA-256>", "target": "<SHA-256>"}}

Other readers of fairseq's checkpoints pass over it.  :mod:`lrdrop_fairseq.compat.vocabulary`
writes it, and compares it wherever a checkpoint meets data.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from fairseq.data import Dictionary

from lrdrop_fairseq.compat.refusals import Refused

logger = logging.getLogger(__name__)

KEY = "dictionaries"  # in extra_state
LABELS = "labels"
MASK = "<mask>"


class VocabularyError(Refused):
    """A checkpoint and data, or two checkpoints, with different dictionaries."""


def fingerprint(symbols: Sequence[str]) -> str:
    """SHA-256 of a dictionary's symbols in their order.

    How often each occurs does not count: no model knows it.  Nor does ``<mask>`` at the end, which
    fairseq's tasks append to a dictionary, or leave out, as they need it.
    """
    if symbols and symbols[-1] == MASK:
        symbols = symbols[:-1]
    return hashlib.sha256("\n".join(symbols).encode("utf-8", "surrogatepass")).hexdigest()


def check_preparation(path: str, dictionary: Dictionary) -> None:
    """Compare a dictionary with what the ``prepare.json`` beside it says of it, if one does.

    Raises:
        VocabularyError: they are not the same.
    """
    record = Path(path).with_name("prepare.json")
    try:
        described = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # damaged: the scripts say so, and fairseq does not read it
        return
    expected = described.get("dictionary_sha256") if isinstance(described, dict) else None
    if expected not in (None, fingerprint(dictionary.symbols)):
        raise VocabularyError(
            f"{path} is not the dictionary that {record} speaks of: it was changed, or the folder "
            "holds files of two preparations; prepare that data again"
        )


def identities(task: Any) -> dict[str, str]:
    """The fingerprint of each dictionary of a task, by what it is for.

    ``source`` and ``target``; of a task for sentences ``source`` and ``labels``; of a multilingual
    task one for each language.  Tasks without text have none.
    """
    dictionaries = getattr(task, "dicts", None)
    if not isinstance(dictionaries, Mapping):
        dictionaries = {"source": _get(task, "source_dictionary")}
        if _get(task, "label_dictionary") is None:
            dictionaries["target"] = _get(task, "target_dictionary")
        elif task.label_dictionary is not dictionaries["source"]:  # the same: a regression
            dictionaries[LABELS] = task.label_dictionary
    return {
        str(name): fingerprint(dictionary.symbols)
        for name, dictionary in dictionaries.items()
        if isinstance(dictionary, Dictionary)
    }


def _get(task: Any, name: str) -> Any:
    try:
        return getattr(task, name, None)
    except NotImplementedError:  # so say tasks that read speech
        return None


def saved(extra_state: Any) -> dict[str, str]:
    """What a checkpoint's ``extra_state`` says of its dictionaries: nothing in most files."""
    found = extra_state.get(KEY) if isinstance(extra_state, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def differing(
    first: Mapping[str, str], second: Mapping[str, str], ignore: Collection[str] = ()
) -> list[str]:
    """The dictionaries that both name, and that are not the same."""
    names = [name for name in first if name in second and name not in ignore]
    return [name for name in names if first[name] != second[name]]


def check(checkpoint: str, extra_state: Any, task: Any, new_labels: bool = False) -> None:
    """Compare a checkpoint's dictionaries with those of the task that it is to be used in.

    Args:
        checkpoint: the file, for messages
        extra_state: of the checkpoint
        new_labels: a fine-tuning, which may tell other labels apart than the model did so far

    Raises:
        VocabularyError: they are not the same.
    """
    data = getattr(getattr(task, "cfg", None) or getattr(task, "args", None), "data", "the data")
    here, there = identities(task), saved(extra_state)
    ignore = {LABELS} if new_labels else set()
    if not here.keys() & there.keys() - ignore:
        if here:
            logger.info(
                "%s does not say which dictionary it was trained with: not compared with that of "
                "%s",
                checkpoint,
                data,
            )
        return
    if names := differing(there, here, ignore):
        raise VocabularyError(
            f"{checkpoint} was trained with another dictionary ({' and '.join(names)}) than that "
            f"of {data}: other words, or the same in another order, whatever their number. Use it "
            "with data that were prepared with the dictionary of its training; prepare.sh "
            "--vocabulary-of DATA prepares new text with the vocabulary of the data in DATA"
        )
