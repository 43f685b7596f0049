"""From what fairseq-generate prints to text: order, subwords, tokens."""

from __future__ import annotations

import re
from pathlib import Path

# The marks of subword-nmt: "@@ " joins a token to the next; a last token may end in one as well.
BPE_MARK = re.compile(r"@@( |$)")
# The languages without spaces that sacreBLEU and the rules of Moses know by two letters alone, in
# the three letters of ISO 639-3 (and of its bibliographic form).
TWO_LETTERS = {"zho": "zh", "chi": "zh", "cmn": "zh", "yue": "zh", "jpn": "ja", "kor": "ko"}


class EvaluationError(Exception):
    """What is wrong, where, and what to do about it."""


def need_files(*paths: Path) -> None:
    """EvaluationError unless each is a file: looked for before hours of translation."""
    for path in paths:
        if not path.is_file():
            raise EvaluationError(
                f"{path} does not exist: copy the whole data directory, or prepare it again"
            )


def hypotheses(generated: Path, count: int) -> list[str]:
    r"""The translations, as token strings, that fairseq-generate printed, in input order.

    It translates in the order of length and prints ``H-<index>\t<score>\t<tokens>``. Raises
    EvaluationError unless there is exactly one for each index below ``count``.
    """
    found: dict[int, str] = {}
    with generated.open(encoding="utf-8", newline="\n") as stream:
        for number, line in enumerate(stream, start=1):
            match = re.match(r"H-(\d+)\t[^\t]*\t", line)
            if match is None:
                continue
            index = int(match[1])
            if index in found or index >= count:
                raise EvaluationError(
                    f"line {number} of what fairseq-generate printed: sentence {index} was not "
                    f"expected: one translation for each of {count} sentences is"
                )
            found[index] = line[match.end() :].rstrip("\n")
    missing = [index for index in range(count) if index not in found]
    if missing:
        raise EvaluationError(
            f"{len(missing)} of {count} sentences have no translation, the first is line "
            f"{missing[0] + 1} of the source: was it skipped as too long? -- --truncate-source "
            "cuts such sentences"
        )
    return [found[index] for index in range(count)]


def join_bpe(text: str) -> str:
    """Tokens from BPE pieces: "kar@@ ate an@@ zug" is "karate anzug"."""
    return BPE_MARK.sub("", text)


def split_compounds(text: str) -> str:
    """Tokens with the hyphen inside a word as a token: "well-known" is "well ##AT##-##AT## known".

    BLEU then counts each part of a compound, and the hyphen. Of two hyphens around one character
    only the first is split, as in the script that the published scores were computed with.
    """
    return re.sub(r"(\S)-(\S)", r"\1 ##AT##-##AT## \2", text)


def from_sentencepiece(data: Path, lines: list[str]) -> list[str]:
    """Plain text from the pieces of the data directory's sentencepiece model."""
    import sentencepiece

    model = str(data / "sentencepiece.model")
    processor = sentencepiece.SentencePieceProcessor(model_file=model)
    return [processor.decode_pieces(line.split()) for line in lines]


def base_language(name: str) -> str:
    """``zh`` of ``zh_CN`` (mBART), ``zh-Hans`` (the web) and ``zho_Hans`` (NLLB)."""
    code = re.split("[-_]", name)[0].lower()
    return TWO_LETTERS.get(code, code)


def detokenize(lines: list[str], language: str) -> list[str]:
    """Text from tokens by the rules of Moses; no spaces around Chinese characters."""
    from sacremoses import MosesDetokenizer

    language = base_language(language)
    detokenizer = MosesDetokenizer(lang=language)
    texts = [detokenizer.detokenize(line.split()) for line in lines]
    if language == "zh":
        from scripts.corpora.moses_text import CHINESE

        texts = [re.sub(f" ?{CHINESE.pattern} ?", r"\1", text) for text in texts]
    return texts
