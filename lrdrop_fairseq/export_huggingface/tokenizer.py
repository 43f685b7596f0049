"""The tokenizer beside an exported model: text becomes the pieces that the training saw.

``transformers`` makes a BERT's or RoBERTa's own class of tokenizer from the vocabulary and its
defaults (lower case, say), whatever ``tokenizer.json`` does.  So the exported settings name the
class that takes ``tokenizer.json`` as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lrdrop_fairseq.checkpoints.export_options import ExportError
from lrdrop_fairseq.import_encoder.folder import TOKENIZER, Folder
from lrdrop_fairseq.import_encoder.text import plain
from lrdrop_fairseq.import_encoder.vocabulary import (
    BOS,
    EOS,
    MASK,
    PAD,
    SPECIAL,
    UNK,
    Vocabulary,
    read_vocabulary,
)

SETTINGS = "tokenizer_config.json"

# Entries of tokenizer_config.json that would change what tokenizer.json does, or name old places.
_DROPPED = ("auto_map", "add_bos_token", "add_eos_token", "name_or_path", "tokenizer_file")

_ROLES = {"cls_token": BOS, "sep_token": EOS, "pad_token": PAD, "unk_token": UNK,
          "mask_token": MASK}  # fmt: skip


def trained_vocabulary(
    folder: Folder, tokenizer: Any, config: Mapping[str, Any], dictionary: Any
) -> Vocabulary:
    """The tokenizer's row of each index of the dictionary that the model was trained with.

    fairseq's public RoBERTa has the numbers of GPT-2's BPE for pieces; the tokenizer's merges say
    which pieces those are.

    Raises:
        ExportError: the dictionary has pieces that the tokenizer does not have.
    """
    kind = config["model_type"]
    whole = read_vocabulary(folder, tokenizer, int(config["vocab_size"]), kind)
    if kind != "bert" and whole.special[PAD] != SPECIAL.index(PAD):
        raise ExportError(
            f"{folder.path}: {whole.named[PAD]} is piece {whole.special[PAD]}; RoBERTa counts its "
            f"positions from it, and fairseq from {SPECIAL.index(PAD)}"
        )
    symbols = dictionary.symbols[dictionary.nspecial : dictionary.index(MASK)]
    for pieces in (symbols, _pieces_of_gpt2(symbols, tokenizer)):
        if all(piece in whole.pieces for piece in pieces):
            return replace(whole, pieces={piece: whole.pieces[piece] for piece in pieces})
    missing = [symbol for symbol in symbols if symbol not in whole.pieces]
    raise ExportError(
        f"the tokenizer in {folder.path} lacks {len(missing):,} of the {len(symbols):,} pieces "
        f"that the model was trained with, {missing[0]!r} the first: --encoder must be the folder "
        "that python -m lrdrop_fairseq.import_encoder made, or, of a public RoBERTa of fairseq, "
        "the same model in Hugging Face's layout"
    )


def _pieces_of_gpt2(symbols: Sequence[str], tokenizer: Any) -> list[str]:
    """The pieces of the symbols that are numbers of GPT-2's BPE: bytes, then merges, then one."""
    from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode

    merges = json.loads(tokenizer.to_str())["model"].get("merges") or []
    # "a b" in older files
    joined = ("".join(m.split(" ") if isinstance(m, str) else m) for m in merges)
    pieces = [*bytes_to_unicode().values(), *joined, "<|endoftext|>"]
    return [
        pieces[int(symbol)]
        if symbol.isascii() and symbol.isdigit() and int(symbol) < len(pieces)
        else symbol
        for symbol in symbols
    ]


def check_same_tokenizer(folder: Folder, tokenizer: Any, data: Path) -> None:
    """ExportError where the data directory keeps the tokenizer of its text, and that is another."""
    path = data / "encoder" / TOKENIZER
    if not path.is_file():
        return
    if plain(Folder(path.parent).tokenizer()).to_str() != tokenizer.to_str():
        raise ExportError(
            f"{folder.path / TOKENIZER} is not the tokenizer that the text of the training went "
            f"through ({path}): name with --encoder the folder that the data were prepared with"
        )


def frame_as_trained(
    tokenizer: Any, kind: str, vocabulary: Vocabulary, options: Mapping[str, Any], pairs: bool
) -> list[str]:
    """Let the tokenizer put around text what the training did; returns what to tell the user.

    Args:
        options: of the training; ``init_token`` and ``separator_token`` are fairseq's indices.
        pairs: whether the training's examples are pairs; if not, that format is as it was.

    Raises:
        ExportError: the training put an ordinary piece there.
    """
    first = _symbols(options, "init_token", vocabulary)
    between = _symbols(options, "separator_token", vocabulary)
    end = vocabulary.named[EOS]
    single = [*first, "$A", end]
    pair = [*first, "$A", end, *between, "$B", end]
    if _has_frames(tokenizer, [single, pair] if pairs else [single]):
        return []
    from tokenizers.processors import TemplateProcessing

    # A type_id of 1 is for the second sentence of a BERT, as its users know it; it adds 0.
    second = {"$B": "$B:1"} if kind == "bert" else {}
    tokenizer.post_processor = TemplateProcessing(
        single=single,
        pair=[*(second.get(part, part) for part in pair[:-1]), f"{end}:1" if second else end],
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in {*first, *between, end}],
    )
    return [
        f"{TOKENIZER} of the encoder does not put around text what the training did; here it does: "
        f"{' '.join(pair if pairs else single).replace('$', '')}"
    ]


def _symbols(options: Mapping[str, Any], option: str, vocabulary: Vocabulary) -> list[str]:
    """What the tokenizer calls the symbol of an option, if the training had one."""
    index = options.get(option)
    if index is None:
        return []
    if index not in range(len(SPECIAL)):
        raise ExportError(f"option {option} is {index}; one of {', '.join(SPECIAL)}, 0 to "
                          f"{len(SPECIAL) - 1}, was expected")  # fmt: skip
    return [vocabulary.named[SPECIAL[index]]]


def _has_frames(tokenizer: Any, frames: Iterable[Sequence[str]]) -> bool:
    """Whether the tokenizer puts these symbols around a text, and around two."""
    texts = {"$A": "a", "$B": "b"}
    tokens = {name: tokenizer.encode(text, add_special_tokens=False).tokens
              for name, text in texts.items()}  # fmt: skip
    return all(
        tokenizer.encode(*(texts[part] for part in frame if part in texts)).tokens
        == [token for part in frame for token in tokens.get(part, [part])]
        for frame in frames
    )


def settings(
    folder: Folder, tokenizer: Any, config: Mapping[str, Any], vocabulary: Vocabulary, longest: int
) -> dict[str, Any]:
    """``tokenizer_config.json``.

    Args:
        config: of the exported model.
        longest: positions of the model.
    """
    original = folder.json(SETTINGS) if (folder.path / SETTINGS).is_file() else {}
    roles = dict(_ROLES)
    if config["model_type"] != "bert":
        roles |= {"bos_token": BOS, "eos_token": EOS}
    named = {role: vocabulary.named[symbol] for role, symbol in roles.items()}
    inputs = ["input_ids", "attention_mask"]
    if config["model_type"] == "bert" and config["type_vocab_size"] > 1:
        inputs.append("token_type_ids")
    found = {
        **named,
        **{key: value for key, value in original.items() if key not in _DROPPED},
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": longest,
        "model_input_names": inputs,
    }
    splitting = json.loads(tokenizer.to_str())["pre_tokenizer"] or {}
    if "add_prefix_space" in splitting:
        # That class would take its own default, where the settings do not say it.
        found["add_prefix_space"] = splitting["add_prefix_space"]
    return found
