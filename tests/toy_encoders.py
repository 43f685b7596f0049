"""Small random models in Hugging Face's layout for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    MBartConfig,
    MBartForConditionalGeneration,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

WORDS = "the one small old red quick dog cat river house sleeps waits sings runs here today".split()
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
BERT_SYMBOLS = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
FAIRSEQ_SYMBOLS = ["<s>", "<pad>", "</s>", "<unk>"]
LANGUAGES = ["en_XX", "de_DE", "cs_CZ"]
TEXTS = ["the old dog sleeps here", "one cat", "quick red zebra waits today by the river", "house"]

ENCODER_SIZES = dict(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
    hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.2,
)  # fmt: skip
BART_SIZES = dict(
    d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2,
    decoder_attention_heads=4, encoder_ffn_dim=24, decoder_ffn_dim=20, max_position_embeddings=30,
)  # fmt: skip
KINDS: dict[str, tuple[Any, Any]] = {
    "bert": (BertConfig, BertForMaskedLM),
    "roberta": (RobertaConfig, RobertaForMaskedLM),
    "xlm-roberta": (XLMRobertaConfig, XLMRobertaForMaskedLM),
    "bart": (BartConfig, BartForConditionalGeneration),
    "mbart": (MBartConfig, MBartForConditionalGeneration),
}


def pieces(kind: str) -> list[str]:
    """The vocabulary in the order of the ids: that of the published models of its kind."""
    if kind == "bert":
        return [*BERT_SYMBOLS, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    languages = LANGUAGES if kind == "mbart" else []
    return [*FAIRSEQ_SYMBOLS, *WORDS, *LETTERS, *languages, "<mask>"]


def write_tokenizer(folder: Path, kind: str) -> None:
    """tokenizer.json and its companions, that cut and pad, as some published ones do."""
    vocabulary = {piece: number for number, piece in enumerate(pieces(kind))}
    symbols = dict(zip(("unk", "cls", "sep", "pad", "mask"),
                       ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]") if kind == "bert"
                       else ("<unk>", "<s>", "</s>", "<pad>", "<mask>")))  # fmt: skip
    unknown = symbols["unk"]
    model: Any = models.WordPiece(vocabulary, unk_token=unknown)
    if kind != "bert":
        model = models.WordLevel(vocabulary, unk_token=unknown)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(list(symbols.values()))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(pad_token=symbols["pad"], pad_id=vocabulary[symbols["pad"]])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {f"{name}_token": value for name, value in symbols.items()}
    (folder / "special_tokens_map.json").write_text(json.dumps(config))


def make_model(kind: str, seed: int = 1, **options: Any) -> Any:
    """A model of ``transformers`` in which no parameter is 0 or 1, as they begin."""
    config_class, model_class = KINDS[kind]
    sizes: dict[str, Any] = dict(BART_SIZES)
    if kind not in ("bart", "mbart"):
        sizes = dict(ENCODER_SIZES, max_position_embeddings=30 if kind == "bert" else 32)
    if kind in ("roberta", "xlm-roberta"):
        sizes |= dict(pad_token_id=1, layer_norm_eps=1e-5)
    if kind == "mbart":
        sizes |= dict(scale_embedding=True)
    config = config_class(vocab_size=len(pieces(kind)), **{**sizes, **options})
    torch.manual_seed(seed)
    model = model_class(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.1, 0.3)
    return model


def make_folder(folder: Path, kind: str, seed: int = 1, **options: Any) -> Path:
    """A folder as people download it."""
    make_model(kind, seed, **options).save_pretrained(str(folder))
    write_tokenizer(folder, kind)
    return folder
