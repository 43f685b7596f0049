"""The dropout gap of one model over a data set: three passes a batch, compared at each place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from fairseq.modules import FairseqDropout, LayerDropModuleList
from fairseq.modules.checkpoint_activations import unwrap_checkpoint
from torch import Tensor, nn

from lrdrop_fairseq.dropout_gap.distances import (
    attention_distance,
    divergence_bits,
    hidden_distance,
    log_probabilities,
    probabilities,
)
from lrdrop_fairseq.layer_states import Attention
from lrdrop_fairseq.models.exposed import expose, record_layer_states
from lrdrop_fairseq.output_layer import adaptive_log_probabilities, adaptive_softmax
from lrdrop_fairseq.siamese import decoder_input

SEED = 1
KINDS = ("hidden", "attention", "output")
Distance = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Place:
    """Where passes are compared: the kind of what is compared, and the part of the model."""

    kind: str  # of KINDS
    part: str  # encoder, decoder self, cross, ...
    layer: int  # from 1; 0 for the output


@dataclass(frozen=True)
class Gap:
    """Mean distances over all tokens; over sentences, for the output of a sentence model.

    Of hidden states relative squared distances, of attention squared distances of distributions,
    of outputs the mean of both KL divergences in bits (squared differences of a regression).

    Attributes:
        to_none: of a pass with dropout to the pass without.
        to_other: of two passes with dropout.
    """

    place: Place
    to_none: float
    to_other: float


def places_of(gaps: Sequence[Sequence[Gap]]) -> list[Place]:
    """All places of several models, by kind, part and layer."""
    places = list(dict.fromkeys(gap.place for found in gaps for gap in found))
    parts = list(dict.fromkeys(place.part for place in places))
    return sorted(places, key=lambda p: (KINDS.index(p.kind), parts.index(p.part), p.layer))


@dataclass
class _Pass:
    """What one pass leaves at each place of its layers, and its output."""

    states: dict[Place, Any]
    output: Tensor


def measure(
    model: Any, samples: Iterable[dict[str, Any]], padding_idx: int, head: str | None = None
) -> list[Gap]:
    """The gap at each layer and at the output, in the model's order.

    With the same samples, dropout draws the same in every call. Layers are never dropped, and
    weights get no quantization noise.

    Args:
        model: any with fairseq's Transformer layers; it stays exposable, without checkpointing.
        samples: batches on the model's device.
        head: name of the classification head of a sentence model; None for sequences.

    Raises:
        ValueError: no layer of the model can be seen, its attention cannot be exposed, or there is
            no sample.
    """
    sums: dict[Place, Tensor] = {}
    expose(unwrap_checkpoint(model))  # nothing is recomputed where there are no gradients
    model.train()
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Embedding, nn.Conv2d)):
            module.eval()  # else quantization noise changes the weights, for good, in each pass
    with torch.random.fork_rng(), torch.no_grad(), _without(model, LayerDropModuleList):
        torch.manual_seed(SEED)
        for sample in samples:
            with _without(model, FairseqDropout, nn.Dropout):
                bare = _run(model, sample, head)
            pair = _run(model, sample, head), _run(model, sample, head)
            for place, value in _sums(bare, pair, _kept(sample, padding_idx, head)):
                sums[place] = sums.get(place, 0) + value
    if not any(place.kind == "hidden" for place in sums):
        raise ValueError("no layer of this model can be seen, or there is no sample")
    return [Gap(place, *(values[:2] / values[2]).tolist()) for place, values in sums.items()]


def _run(model: Any, sample: dict[str, Any], head: str | None) -> _Pass:
    options = {} if head is None else {"features_only": True, "classification_head_name": head}
    with record_layer_states(model, _keep, _keep) as states:
        output = model(**sample["net_input"], **options)[0]
    hidden = {"encoder": states.encoder_hidden, "decoder": states.decoder_hidden}
    attention = {
        "encoder self": states.encoder_self_attention,
        "decoder self": states.decoder_self_attention,
        "decoder cross": states.cross_attention,
    }
    if (adaptive := adaptive_softmax(model)) is not None:
        output = adaptive_log_probabilities(adaptive, output)
    elif output.size(-1) > 1:
        output = log_probabilities(output)
    return _Pass({**_numbered("hidden", hidden), **_numbered("attention", attention)}, output)


def _keep(exposed: Any) -> Any:
    return exposed


def _numbered(kind: str, parts: dict[str, list[Any]]) -> dict[Place, Any]:
    return {
        Place(kind, part, layer): value
        for part, values in parts.items()
        for layer, value in enumerate(values, start=1)
    }


def _kept(sample: dict[str, Any], padding_idx: int, head: str | None) -> dict[str, Tensor]:
    """What counts of the encoder's and the decoder's tokens, B x T, and of the outputs."""
    inputs, target = sample["net_input"], sample["target"]
    kept = {"encoder": inputs["src_tokens"].ne(padding_idx)}
    kept["decoder"] = decoder_input(inputs).ne(padding_idx)
    if head is None:
        return {**kept, "output": target.ne(padding_idx)}
    return {**kept, "output": torch.ones(target.size(0), dtype=torch.bool, device=target.device)}


def _sums(
    bare: _Pass, pair: tuple[_Pass, _Pass], kept: dict[str, Tensor]
) -> Iterator[tuple[Place, Tensor]]:
    """(place, [sum of distances to none, to the other, number of tokens]) of one batch."""
    for place, state in bare.states.items():
        states = [a_pass.states[place] for a_pass in pair]
        distance = _DISTANCES[place.kind]
        yield place, _sum(distance, state, states, kept[place.part.split()[0]])
    outputs = [a_pass.output for a_pass in pair]
    distance = _squared_difference if bare.output.size(-1) == 1 else _symmetric_divergence
    yield Place("output", "output", 0), _sum(distance, bare.output, outputs, kept["output"])


def _sum(distance: Distance, bare: Any, pair: Sequence[Any], kept: Tensor) -> Tensor:
    to_none = (distance(bare, pair[0]) + distance(bare, pair[1])) / 2
    sums = [values.masked_fill(~kept, 0.0).sum() for values in (to_none, distance(*pair))]
    return torch.stack([*sums, kept.sum()])


def _attention(first: Attention, second: Attention) -> Tensor:
    # Long sequences are kept as queries and keys, and one module's maps are formed at a time; on a
    # CPU with attention dropout they come as maps, and --max-tokens decides how many.
    return attention_distance(probabilities(first), probabilities(second))


def _symmetric_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (divergence_bits(log_p, log_q) + divergence_bits(log_q, log_p)) / 2


def _squared_difference(first: Tensor, second: Tensor) -> Tensor:
    return (first.double() - second.double()).square().squeeze(-1)


_DISTANCES: dict[str, Distance] = {"hidden": hidden_distance, "attention": _attention}


@contextmanager
def _without(model: nn.Module, *classes: type) -> Iterator[None]:
    """Let modules of these classes drop nothing inside the block."""
    modules: list[Any] = [module for module in model.modules() if isinstance(module, classes)]
    before = [module.p for module in modules]
    for module in modules:
        module.p = 0.0
    try:
        yield
    finally:
        for module, p in zip(modules, before):
            module.p = p
