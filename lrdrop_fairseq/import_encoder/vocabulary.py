"""The pieces of a pretrained model in the order of a dictionary of fairseq."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lrdrop_fairseq.import_encoder.errors import ImportingError
from lrdrop_fairseq.import_encoder.folder import Folder

# fairseq's symbols: its Dictionary begins with the first four, its tasks append the last one.
BOS, PAD, EOS, UNK, MASK = "<s>", "<pad>", "</s>", "<unk>", "<mask>"
SPECIAL = (BOS, PAD, EOS, UNK)
# What the tokenizers call them, where their own files do not say.
BERT_SYMBOLS = {BOS: "[CLS]", PAD: "[PAD]", EOS: "[SEP]", UNK: "[UNK]", MASK: "[MASK]"}
FAIRSEQ_SYMBOLS = {symbol: symbol for symbol in (*SPECIAL, MASK)}


@dataclass(frozen=True)
class Vocabulary:
    """Which row of the pretrained embedding belongs to which index of fairseq's dictionary.

    Attributes:
        special: the row of each of fairseq's special symbols, ``<mask>`` included.
        pieces: the row of each other piece, in the order of the dictionary.
        languages: those of the pieces that stand for a language; fairseq's tasks append them
            (mBART), so they are not in ``dict.txt``.
        named: what the model's own tokenizer calls the special symbols, by fairseq's name.
        size: rows of the pretrained embedding.
    """

    special: dict[str, int]
    pieces: dict[str, int]
    languages: tuple[str, ...]
    named: dict[str, str]
    size: int

    def rows(self) -> Tensor:
        """The row for each index of fairseq's dictionary, as a long tensor."""
        first = [self.special[symbol] for symbol in SPECIAL]
        return torch.tensor([*first, *self.pieces.values(), self.special[MASK]])

    def dictionary(self) -> str:
        """The text of ``dict.txt``."""
        return "".join(f"{piece} 1\n" for piece in self.pieces if piece not in self.languages)

    def only(self, wanted: Iterable[str]) -> Vocabulary:
        """The same without the pieces that are not ``wanted``; special symbols stay."""
        kept = set(wanted)
        return replace(self, pieces={p: row for p, row in self.pieces.items() if p in kept})


def read_vocabulary(folder: Folder, tokenizer: Any, size: int, kind: str) -> Vocabulary:
    """The vocabulary of a folder.

    Args:
        size: rows of the embedding.
        kind: ``model_type`` of the config.

    Raises:
        ImportingError: a special symbol is missing, or a piece cannot stand in ``dict.txt``.
    """
    ids: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    usual = BERT_SYMBOLS if kind == "bert" else FAIRSEQ_SYMBOLS
    named = {**usual, **_named_symbols(folder)}
    beyond = [piece for piece, row in ids.items() if row >= size]
    # The published BART of CNN/DailyMail has no row for <mask>, its last piece.
    lost = kind == "bart" and beyond == [named[MASK]] and ids[named[MASK]] == size
    if beyond and not lost:
        raise ImportingError(
            f"{folder.path}: the tokenizer has {len(ids):,} pieces, but the embedding {size:,} "
            f"rows: {beyond[0]!r} has none; tokenizer and weights are not of one model"
        )
    missing = [named[symbol] for symbol in (*SPECIAL, MASK) if named[symbol] not in ids]
    if missing:
        raise ImportingError(
            f"{folder.path}: the tokenizer has no {', '.join(missing)}, which fairseq needs"
        )
    special = {symbol: ids[named[symbol]] for symbol in (*SPECIAL, MASK)}
    names_of = {row: piece for piece, row in ids.items()}
    taken = set(special.values())
    # Rows without a piece are there to make the size a round number.
    pieces = {names_of.get(i, f"madeupword{i}"): i for i in range(size) if i not in taken}
    _check(folder, pieces)
    tags = tuple(piece for piece in pieces if kind == "mbart" and _is_language(piece))
    if tags and list(pieces)[-len(tags) :] != list(tags):
        raise ImportingError(f"{folder.path}: its languages are not its last pieces, as in fairseq")
    return Vocabulary(special, pieces, tags, named, size)


def _named_symbols(folder: Folder) -> dict[str, str]:
    """The special symbols as the folder's tokenizer calls them, where it says so."""
    found: dict[str, str] = {}
    roles = {BOS: ("bos_token", "cls_token"), EOS: ("eos_token", "sep_token"), PAD: ("pad_token",),
             UNK: ("unk_token",), MASK: ("mask_token",)}  # fmt: skip
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if not (folder.path / name).is_file():
            continue
        settings = folder.json(name)
        for symbol, keys in roles.items():
            for key in keys:
                value = settings.get(key)
                value = value.get("content") if isinstance(value, dict) else value
                if isinstance(value, str):
                    found[symbol] = value
    return found


def _is_language(piece: str) -> bool:
    """Whether it is a language of mBART's: ``en_XX``, ``de_DE``."""
    language, _, country = piece.partition("_")
    return (2 <= len(language) <= 3 and language.isascii() and language.islower()) and (
        len(country) == 2 and country.isascii() and country.isupper()
    )


def _check(folder: Folder, pieces: Iterable[str]) -> None:
    """Refuse what fairseq's dictionary would misread."""
    for piece in pieces:
        if piece in (*SPECIAL, MASK):
            raise ImportingError(
                f"{folder.path}: {piece} is an ordinary piece of this tokenizer, but has a meaning "
                "of its own in fairseq"
            )
        # The dictionary's lines end where Python's do in text files, and a space ends the piece.
        if not piece or any(character in piece for character in " \n\r"):
            raise ImportingError(
                f"{folder.path}: the piece {piece!r} cannot stand in a dictionary of fairseq"
            )
