"""GPT-2's byte-level BPE, which BART and RoBERTa read: text to its tokens, which are numbers."""

from __future__ import annotations

from collections.abc import Callable

from scripts.corpora.prepare_text import TextError

# fairseq's encoder remembers every word it has seen; past so many it starts anew.
REMEMBERED_WORDS = 200_000


def gpt2(folder: str) -> Callable[[str], str]:
    """The function from text to tokens with spaces between, of FOLDER/encoder.json and vocab.bpe.

    It raises TextError where the two files do not belong together.
    """
    from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

    encoder = get_encoder(f"{folder}/encoder.json", f"{folder}/vocab.bpe")

    def encode(text: str) -> str:
        if len(encoder.cache) > REMEMBERED_WORDS:
            encoder.cache.clear()
        try:
            return " ".join(map(str, encoder.encode(text)))
        except KeyError as error:
            raise TextError(f"{folder}/encoder.json lacks {error}, which vocab.bpe makes") from None

    return encode
