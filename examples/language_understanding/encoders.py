"""Text to the indices of a model's dictionary, in the three ways in which models have theirs."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.language_understanding.sentence_tasks import TaskError

ENCODER, MERGES, DICTIONARY = "encoder.json", "vocab.bpe", "dict.txt"
SENTENCEPIECE = "sentencepiece.model"

# Positions of RoBERTa, for models of which the files of the vocabulary do not say it.
MAX_POSITIONS = 512


@dataclass(frozen=True)
class TextEncoder:
    """What turns text into indices, and the files that it consists of."""

    kind: str
    files: dict[str, Path]  # by their names in a data directory's encoder/
    dictionary: Any  # of fairseq
    encode: Callable[[Sequence[str]], Iterable[list[int]]]  # with </s>, in order
    facts: dict[str, Any]  # of an imported model
    max_positions: int = MAX_POSITIONS
    separator: bool = True  # whether a second </s> stands between two sentences

    def length(self, pieces: int, sentences: int) -> int:
        """Positions of an example: its pieces, each sentence's </s> counted, with all else."""
        return 1 + pieces + (sentences - 1) * self.separator

    def copy_to(self, folder: Path) -> None:
        """Copy the files, so that :func:`saved` finds them."""
        folder.mkdir()
        for name, path in self.files.items():
            shutil.copyfile(path, folder / name)

    def describe(self) -> dict[str, Any]:
        """What prepare.json says of it."""
        return {
            "kind": self.kind,
            **self.facts,
            "max_positions": self.max_positions,
            "pieces": len(self.dictionary),
            "sha256": fingerprint(self.files.values()),
        }


def imported_files(folder: Path) -> dict[str, Path]:
    """Those of an imported model that belong to its text."""
    return {name: folder / name for name in ("tokenizer.json", "import.json", DICTIONARY)}


def gpt2_bpe_files(folder: Path) -> dict[str, Path]:
    """Those of GPT-2's BPE."""
    return {name: folder / name for name in (ENCODER, MERGES, DICTIONARY)}


def sentencepiece_files(model: Path, dictionary: Path) -> dict[str, Path]:
    """A model of sentencepiece and the dictionary of its pieces."""
    return {SENTENCEPIECE: model, DICTIONARY: dictionary}


def fingerprint(paths: Iterable[Path]) -> str:
    """One number for the contents of these files."""
    digests = (hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def imported(folder: Path) -> TextEncoder:
    """The tokenizer of a model that ``python -m lrdrop_fairseq.import_encoder`` has made."""
    from examples.language_understanding.run_record import load_plugin

    load_plugin()
    from lrdrop_fairseq.import_encoder.errors import ImportingError
    from lrdrop_fairseq.import_encoder.families import ENCODERS
    from lrdrop_fairseq.import_encoder.text import Encoder

    try:
        encoder = Encoder(folder)
    except ModuleNotFoundError as error:
        raise TaskError(f"{error}; scripts/install.sh installs it") from error
    except ImportingError as error:
        raise TaskError(str(error)) from error
    record = encoder.record
    if record["model_type"] not in ENCODERS:
        raise TaskError(
            f"{folder} is a {record['model_type']}: what classifies text here is an encoder "
            f"({', '.join(ENCODERS)})"
        )
    return TextEncoder(
        "imported",
        imported_files(folder),
        encoder.dictionary,
        encoder.encode,
        {"model_type": record["model_type"]},
        int(record["flags"][record["flags"].index("--max-positions") + 1]),
        record["pairs"] != "</s>",
    )


def gpt2_bpe(folder: Path, workers: int = 1) -> TextEncoder:
    """GPT-2's byte-level BPE, as the public RoBERTa checkpoints of fairseq have it."""
    from fairseq.data import Dictionary

    from examples.language_understanding.binarize import check_bpe, encode_all

    check_bpe(folder)
    return TextEncoder(
        "gpt2-bpe",
        gpt2_bpe_files(folder),
        Dictionary.load(str(folder / DICTIONARY)),
        lambda texts: encode_all(texts, folder, workers),
        {},
    )


def sentencepiece(model: Path, dictionary: Path) -> TextEncoder:
    """A sentencepiece model and the dictionary of its pieces (XLM-R's, or prepare.sh's)."""
    from fairseq.data import Dictionary
    from sentencepiece import SentencePieceProcessor

    for path in (model, dictionary):
        if not path.is_file():
            raise TaskError(f"{path} does not exist")
    try:
        processor = SentencePieceProcessor(model_file=str(model))
    except (OSError, RuntimeError) as error:
        raise TaskError(f"{model} is no model of sentencepiece") from error
    words = Dictionary.load(str(dictionary))

    def encode(texts: Sequence[str]) -> Iterator[list[int]]:
        for text in texts:
            yield [*map(words.index, processor.encode(text, out_type=str)), words.eos()]

    return TextEncoder("sentencepiece", sentencepiece_files(model, dictionary), words, encode, {})


def saved(folder: Path) -> TextEncoder:
    """The one whose files :meth:`TextEncoder.copy_to` has copied."""
    if (folder / "import.json").is_file():
        return imported(folder)
    if (folder / ENCODER).is_file():
        return gpt2_bpe(folder)
    if (folder / SENTENCEPIECE).is_file():
        return sentencepiece(folder / SENTENCEPIECE, folder / DICTIONARY)
    raise TaskError(
        f"{folder} does not exist, or holds no tokenizer: prepare the data again, with --force"
    )
