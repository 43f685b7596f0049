"""Compares an imported model with the original, as ``transformers`` computes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.data.data_utils import collate_tokens
from tabulate import tabulate
from torch import Tensor

from lrdrop_fairseq.import_encoder.errors import ImportingError
from lrdrop_fairseq.import_encoder.folder import Folder
from lrdrop_fairseq.import_encoder.text import Encoder

SENTENCES, LENGTH = 32, 64
TOLERANCE = 1e-5


def differences(folder: Path, out: Path, texts: Iterable[str]) -> list[tuple[str, float]]:
    """For each layer's states, the largest relative difference of a text.

    Both get the same ids, padded, in float32 without dropout. Of each text the norm of the
    difference of all its states is taken, relative to the norm of the original's.

    Raises:
        ImportingError: transformers cannot load the folder, or there is no text.
    """
    encoder = Encoder(out)
    flags = encoder.record["flags"]
    name = next(n for n in ("--max-positions", "--max-source-positions") if n in flags)
    length = min(LENGTH, int(flags[flags.index(name) + 1]) - 1)
    indices = [[0, *ids[:length]] for ids in encoder.encode(islice(texts, SENTENCES))]
    if not indices:
        raise ImportingError("--check: the file is empty")
    # B x T, fairseq's indices
    tokens = collate_tokens([torch.tensor(ids) for ids in indices], encoder.dictionary.pad())
    real = tokens.ne(encoder.dictionary.pad())
    ours = _ours(out, encoder.record["arch"], tokens)
    theirs = _theirs(folder, _original_ids(folder, encoder, tokens), real)
    return [
        (name, largest_difference(a, b, real))
        for (name, a), (_, b) in zip(ours, theirs, strict=True)
    ]


def _original_ids(folder: Path, encoder: Encoder, tokens: Tensor) -> Tensor:
    """The same pieces in the original's numbers."""
    numbers = Folder(folder).tokenizer().get_vocab(with_added_tokens=True)
    named = encoder.record["symbols"]
    symbols = (encoder.dictionary[index] for index in tokens.flatten().tolist())
    ids = [numbers[named.get(symbol, symbol)] for symbol in symbols]
    return torch.tensor(ids).view_as(tokens)


def _ours(out: Path, arch: str, tokens: Tensor) -> list[tuple[str, Tensor]]:
    """(name, states B x T x C) of the embedding and each layer of LR-Drop's model."""
    models, _, _ = checkpoint_utils.load_model_ensemble_and_task(
        [str(out / "model.pt")], arg_overrides={"data": str(out), "arch": arch}
    )
    model: Any = models[0].eval()
    with torch.no_grad():
        if hasattr(model, "decoder"):
            lengths = torch.tensor([tokens.shape[1]] * len(tokens))
            encoded = model.encoder(tokens, lengths, return_all_hiddens=True)
            decoded = model.decoder(tokens, encoder_out=encoded)
            # the last state is that before the final layer norm, where there is one
            sides = {"encoder": encoded["encoder_states"], "decoder": decoded[1]["inner_states"]}
        else:
            _, extra = model(tokens, features_only=True, return_all_hiddens=True)
            sides = {"encoder": extra["inner_states"]}
    # T x B x C -> B x T x C
    return [
        (f"{side}, {'embedding' if number == 0 else f'layer {number}'}", state.transpose(0, 1))
        for side, states in sides.items()
        for number, state in enumerate(states)
    ]


def _theirs(folder: Path, ids: Tensor, real: Tensor) -> list[tuple[str, Tensor]]:
    """The same of transformers' model."""
    from transformers import AutoModel

    try:
        model = AutoModel.from_pretrained(str(folder)).float().eval()
    except Exception as error:  # whatever it makes of a folder that it cannot read
        reason = str(error).splitlines()[0]
        raise ImportingError(f"{folder}: transformers cannot load it ({reason})") from error
    sides = {"encoder": model}
    inputs = dict(input_ids=ids, attention_mask=real.long())
    if model.config.is_encoder_decoder:
        inputs |= dict(decoder_input_ids=ids)
        sides = {"encoder": model.encoder, "decoder": model.decoder}
    # output_hidden_states has the last state after a final layer norm, and fairseq's before it.
    states: list[tuple[str, Tensor]] = []
    for side, module in sides.items():
        layers = module.layers if hasattr(module, "layers") else module.encoder.layer
        layers[0].register_forward_pre_hook(_record(states, f"{side}, embedding"))
        for number, layer in enumerate(layers, start=1):
            layer.register_forward_hook(_record(states, f"{side}, layer {number}"))
    with torch.no_grad():
        model(**inputs)
    return states


def _record(states: list[tuple[str, Tensor]], name: str) -> Any:
    """A hook that appends the last of what it gets: the input of a layer, or its output."""

    def hook(_module: Any, *tensors: Any) -> None:
        last = tensors[-1]
        states.append((name, last[0] if isinstance(last, tuple) else last))

    return hook


def largest_difference(ours: Tensor, theirs: Tensor, real: Tensor) -> float:
    """Of the sentences' states, B x T x C, relative to theirs; NaN where one is.

    Args:
        real: B x T, False where there is padding.
    """
    norm = torch.linalg.vector_norm
    found = [
        norm(a[mask] - b[mask]) / norm(b[mask])
        for a, b, mask in zip(ours, theirs, real, strict=True)
    ]
    return float(torch.stack(found).max())  # Python's max passes over a NaN


def same(found: Sequence[tuple[str, float]]) -> bool:
    """Whether all differences are those of rounding."""
    return all(value <= TOLERANCE for _, value in found)


def show(found: Sequence[tuple[str, float]]) -> str:
    """The differences as a table, and whether they are small enough."""
    rows = [(name, f"{value:.1e}") for name, value in found]
    heads = ["states of", "largest relative difference to transformers'"]
    verdict = f"NOT the same: more than {TOLERANCE:.0e}"
    if same(found):
        verdict = f"the same, to {TOLERANCE:.0e} in float32"
    return f"{tabulate(rows, heads, disable_numparse=True)}\n{verdict}"
