"""Text to the indices of an imported model's dictionary, through its own tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from lrdrop_fairseq.import_encoder.errors import ImportingError
from lrdrop_fairseq.import_encoder.folder import TOKENIZER

RECORD, DICTIONARY = "import.json", "dict.txt"

# Sentences that the tokenizer gets at once, for all cores.
BATCH = 1000


class Encoder:
    """The tokenizer and the dictionary of a folder that this package has made.

    Attributes:
        dictionary: fairseq's, with ``<mask>`` at its end.
    """

    def __init__(self, folder: Path) -> None:
        from fairseq.data import Dictionary
        from tokenizers import Tokenizer

        self.record = read_record(folder)
        try:
            self._tokenizer = plain(Tokenizer.from_file(str(folder / TOKENIZER)))
        except Exception as error:  # the library raises plain Exception
            raise ImportingError(f"{folder / TOKENIZER}: {error}") from error
        self.dictionary: Any = Dictionary.load(str(folder / DICTIONARY))
        self.dictionary.add_symbol("<mask>")
        self._named = {theirs: ours for ours, theirs in self.record["symbols"].items()}

    def encode(self, texts: Iterable[str]) -> Iterator[list[int]]:
        """The indices of each text, in order, ``</s>`` at the end; ``<s>`` is the task's to add."""
        for pieces in tokenize(self._tokenizer, texts):
            index = self.dictionary.index
            yield [*(index(self._named.get(p, p)) for p in pieces), self.dictionary.eos()]


def read_record(folder: Path) -> dict[str, Any]:
    """``import.json`` of a folder; ImportingError where there is none."""
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {key: record[key] for key in ("arch", "flags", "symbols", "model_type", "pairs")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImportingError(
            f"{path} cannot be read ({error!r}): the folder must be one that python -m "
            "lrdrop_fairseq.import_encoder has made"
        ) from error


def plain(tokenizer: Any) -> Any:
    """The tokenizer without the cutting and padding that its file may ask for."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def separator(tokenizer: Any, end: str) -> str | None:
    """What the tokenizer puts between two texts, in fairseq's symbols: ``</s>`` once or twice.

    None where it puts nothing there, or something else.

    Args:
        end: what the tokenizer calls ``</s>``.
    """
    encoding = tokenizer.encode("a", "b")
    texts: list[int | None] = encoding.sequence_ids
    if not {0, 1} <= set(texts):
        return None
    after_first = len(texts) - texts[::-1].index(0)
    found = encoding.tokens[after_first : texts.index(1)]
    return " ".join(["</s>"] * len(found)) if found in ([end], [end, end]) else None


def tokenize(tokenizer: Any, texts: Iterable[str]) -> Iterator[Sequence[str]]:
    """The pieces of each text, without the symbols of begin and end."""
    remaining = iter(texts)
    while batch := list(islice(remaining, BATCH)):
        for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
            yield encoding.tokens
