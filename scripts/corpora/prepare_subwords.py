"""The joint sentencepiece model of a parallel corpus, and the segmentation of text with it.

The model is byte-pair encoding (BPE), not sentencepiece's unigram model: BPE is what published
translation baselines use, so vocabulary sizes stay comparable; its merges are counted, not
estimated, so the model depends on the text alone; and a small corpus allows a larger vocabulary.

Characters stay what they are. By default sentencepiece normalizes them (NFKC), so that a model
could never write the full-width comma, the ellipsis or the superscript of the text that its
translations are scored against.

Byte fallback stays off, because fairseq's own detokenization (``--bpe sentencepiece``,
``--remove-bpe=sentencepiece``) does not put bytes together again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from scripts.corpora.prepare_text import TextError, normalize_space, read_lines

# From lines to the subwords of each.
Segmenter = Callable[[list[str]], list[list[str]]]

# More lines change a joint vocabulary little and cost memory: above this every second line is
# taken, or every third, and so on. sentencepiece's own sampling is not repeatable, seeded or not.
MAX_LINES = 5_000_000
BATCH_LINES = 10_000  # that are segmented at once
# sentencepiece leaves out lines of more bytes than this, by default those over 4,192.
MAX_LINE_BYTES = 1 << 20
# Every character gets a piece, so that none is unknown but those that never stand alone in the
# training text, while the characters leave the larger part of the vocabulary to subwords. Where
# they do not (Chinese, Japanese) the rarest go: 0.05 % of the text, sentencepiece's own default.
MAX_CHARACTER_SHARE = 0.25
PARTIAL_COVERAGE = 0.9995
NORMALIZATION = "identity"


def train(texts: list[Path], vocab_size: int, model: Path, workers: int = 1) -> dict[str, object]:
    """Trains one model on all `texts` together and writes it to the file `model`.

    `vocab_size` counts sentencepiece's own three symbols. Returns what describes the model.
    Raises TextError when the text cannot fill, or cannot do with, that many pieces.
    """
    import sentencepiece

    lines, characters = measure(texts)
    coverage = 1.0 if characters <= MAX_CHARACTER_SHARE * vocab_size else PARTIAL_COVERAGE
    step = max(1, math.ceil(lines / MAX_LINES))
    try:
        with model.open("wb") as output:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=islice(_all_lines(texts), 0, None, step),
                model_writer=output,
                model_type="bpe",
                vocab_size=vocab_size,
                character_coverage=coverage,
                normalization_rule_name=NORMALIZATION,
                max_sentence_length=MAX_LINE_BYTES,
                minloglevel=2,  # errors only; they are raised as well
            )
    except RuntimeError as error:
        raise TextError(_explain(str(error), vocab_size)) from error
    leave_out_unseen(model, _all_lines(texts), workers)
    return {
        "vocab_size": vocab_size,
        "sentencepiece": sentencepiece.__version__,
        "model_type": "bpe",
        "character_coverage": coverage,
        "normalization": NORMALIZATION,
    }


def leave_out_unseen(model: Path, lines: Iterator[str], workers: int) -> None:
    """Marks the pieces that no line has as unused: text that would have them is cut further.

    Some pieces of BPE occur within larger ones alone. A dictionary is made of what occurs in the
    training text, so it does not have them, and other text would read as ``<unk>`` there. The
    lines are cut as before; single characters stay.
    """
    from sentencepiece import sentencepiece_model_pb2

    cut = segmented(lines, segmenter(model, workers))
    seen = {piece for pieces in cut for piece in pieces}
    ModelProto = sentencepiece_model_pb2.ModelProto  # type: ignore[attr-defined]  # noqa: N806
    content = ModelProto()
    content.ParseFromString(model.read_bytes())
    kinds = ModelProto.SentencePiece
    for piece in content.pieces:
        if piece.type == kinds.NORMAL and len(piece.piece) > 1 and piece.piece not in seen:
            piece.type = kinds.UNUSED
    model.write_bytes(content.SerializeToString())


def _all_lines(texts: list[Path]) -> Iterator[str]:
    for path in texts:
        yield from map(normalize_space, read_lines(path))


def measure(texts: list[Path]) -> tuple[int, int]:
    """How many lines, and how many different characters, the texts have."""
    count = 0
    characters: set[str] = set()
    for line in _all_lines(texts):
        count += 1
        characters.update(line)
    return count, len(characters)


def _explain(message: str, vocab_size: int) -> str:
    if largest := re.search(r"Vocabulary size too high .* <= (\d+)", message):
        return (
            f"--vocab-size {vocab_size} is too large: the training text allows at most "
            f"{largest[1]} pieces; use --vocab-size {largest[1]} or less"
        )
    if smallest := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return (
            f"--vocab-size {vocab_size} is too small: the characters of the training text alone "
            f"need {smallest[1]} pieces; use --vocab-size {smallest[1]} or more"
        )
    return f"sentencepiece could not train on the training text: {message}"


def segmenter(model: Path, workers: int) -> Segmenter:
    """A function from lines to their pieces.

    A character that the model does not know comes out as itself, which fairseq's dictionary then
    takes for ``<unk>``.
    """
    import sentencepiece

    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    except (OSError, RuntimeError) as error:
        raise TextError(f"{model} is no model of sentencepiece: is the file damaged?") from error

    def segment(lines: list[str]) -> list[list[str]]:
        pieces: list[list[str]] = processor.encode(lines, out_type=str, num_threads=workers)
        return pieces

    return segment


def segmented(lines: Iterable[str], segment: Segmenter) -> Iterator[list[str]]:
    """The pieces of each line, segmented in batches."""
    remaining = iter(lines)
    while batch := list(islice(remaining, BATCH_LINES)):
        yield from segment(batch)


def words(lines: list[str]) -> list[list[str]]:
    """The segmentation of text that is segmented already."""
    return [line.split(" ") if line else [] for line in lines]


def bpe_segmenter(codes: Path) -> Segmenter:
    """A function from lines of words to their pieces by subword-nmt's codes, in one process.

    Raises TextError where the file holds none.
    """
    from scripts.corpora.moses_corpus import segmenter as make

    try:
        apply = make(str(codes))
    except (ValueError, IndexError, SystemExit) as error:
        raise TextError(f"{codes} holds no BPE codes of subword-nmt: is it damaged?") from error

    def segment(lines: list[str]) -> list[list[str]]:
        return words(list(map(apply, lines)))

    return segment
