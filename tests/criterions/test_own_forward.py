"""Models that compute their logits in a way of their own: the loss is that of what they return."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fairseq.models.transformer import TransformerDecoder, TransformerModel
from torch import Tensor, nn

from lrdrop_fairseq.models.exposed import ExposesLayerStates
from lrdrop_fairseq.models.transformer import LRDropTransformer
from lrdrop_fairseq.output_layer import chunking_obstacle
from tests.toy import assert_same, make_criterion, make_model, make_sample, run

OUTPUT_ALONE = dict(lr_drop_hidden_weight=0.0, lr_drop_attention_weight=0.0)
SORTED = [(6, 4), (5, 7), (3, 1)]


def cap(logits: Tensor) -> Tensor:
    return 0.3 * torch.tanh(logits / 0.3)


class Caps:
    """Goes in front of a model or decoder."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        logits, extra = super().forward(*args, **kwargs)  # type: ignore[misc]
        return cap(logits), extra


class Capped(Caps, LRDropTransformer):
    pass


class CappedBehind(ExposesLayerStates, Caps, TransformerModel):
    pass


class CappedDecoder(Caps, TransformerDecoder):
    pass


class CappedProbabilities(LRDropTransformer):
    def get_normalized_probs_scriptable(self, net_output: Any, log_probs: Any, sample: Any) -> Any:
        return torch.log_softmax(cap(net_output[0]), dim=-1)

    def get_normalized_probs(self, net_output: Any, log_probs: Any, sample: Any = None) -> Any:
        return self.get_normalized_probs_scriptable(net_output, log_probs, sample)


class OwnTargets(LRDropTransformer):
    def get_targets(self, sample: Any, net_output: Any) -> Any:
        target = sample["target"]
        return target.where(target.eq(1), target.max())


class Short(TransformerModel):
    """Takes what a batch holds and no more; says nothing beside its logits."""

    def forward(self, src_tokens: Tensor, src_lengths: Tensor, prev_output_tokens: Tensor) -> Any:
        encoder_out = self.encoder(src_tokens, src_lengths=src_lengths)
        return self.decoder(prev_output_tokens, encoder_out=encoder_out)[0], None


class ExposedShort(ExposesLayerStates, Short):
    pass


def of_class(cls: type, dropout: float = 0.0, decoder: type | None = None) -> Any:
    model = make_model(dropout=dropout, attention_dropout=dropout)
    model.__class__ = cls
    if decoder is not None:
        model.decoder.__class__ = decoder
    return model


def hooked() -> Any:
    model = make_model(dropout=0.0)
    model.register_forward_hook(lambda module, args, output: (cap(output[0]), output[1]))
    return model


MODELS = {
    "model": lambda: of_class(Capped),
    "behind the mixin": lambda: of_class(CappedBehind),
    "decoder": lambda: of_class(LRDropTransformer, decoder=CappedDecoder),
    "probabilities": lambda: of_class(CappedProbabilities),
    "hook": hooked,
    "targets": lambda: of_class(OwnTargets),
    "short": lambda: of_class(ExposedShort),
}


@pytest.mark.parametrize("weights", [OUTPUT_ALONE, {}], ids=["output alone", "all terms"])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_the_loss_is_that_of_the_output(make: Any, weights: dict[str, float]) -> None:
    """Without dropout the passes are one, so that the loss is the plain criterion's."""
    model, sample = make(), make_sample(SORTED)
    assert chunking_obstacle(model) == (
        "a hook on the model, its decoder or its output projection"
        if model._forward_hooks
        else "a model with a forward or an output of its own"
    )
    plain = run(make_criterion("label_smoothed_cross_entropy"), model, sample)
    assert_same(run(make_criterion(**weights), model, sample), plain, rtol=1e-5, atol=1e-6)
    # Before the terms act, too.
    later = make_criterion(**weights, lr_drop_start=1)
    later._counter.updates = 0
    assert_same(run(later, model, sample), plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cls", [Capped, ExposedShort])
def test_with_dropout_all_terms_act(cls: type) -> None:
    _, log, _ = run(make_criterion(), of_class(cls, dropout=0.3), make_sample())
    assert min(log["hidden_loss"], log["attention_loss"], log["output_loss"]) > 1e-6


def test_rows_in_turn_are_two_passes_of_each_sentence() -> None:
    model, sample = of_class(Short, dropout=0.3), make_sample(SORTED)
    actual = run(make_criterion(**OUTPUT_ALONE), model, sample, seed=3)[1]["output_loss"]
    torch.manual_seed(3)
    inputs = {name: x.repeat_interleave(2, 0) for name, x in sample["net_input"].items()}
    log_probs = torch.log_softmax(model(**inputs)[0], dim=-1)
    first, second = log_probs[0::2], log_probs[1::2]
    # (KL(p||q) + KL(q||p)) / 2 of each token, B x T
    divergence = ((first.exp() - second.exp()) * (first - second)).sum(dim=-1) / 2
    torch.testing.assert_close(actual, divergence[sample["target"].ne(1)].sum().detach())


class Says(Caps):
    projects_features = True


def test_a_class_can_say_that_its_logits_are_the_projection_of_its_features() -> None:
    trusted = type("Trusted", (ExposesLayerStates, Says, TransformerModel), {})
    assert chunking_obstacle(of_class(trusted)) is None
    assert chunking_obstacle(of_class(type("Child", (trusted,), {}))) is None
    decoder = type("Decoder", (Says, TransformerDecoder), {})
    assert chunking_obstacle(of_class(LRDropTransformer, decoder=decoder)) is None
    # What a class does otherwise is not what its base has said.
    again = type("Again", (trusted,), {"forward": lambda self, **options: None})
    assert "of its own" in str(chunking_obstacle(of_class(again)))


class Sorted(LRDropTransformer):
    """Wants sentences sorted by length, as torch's recurrent networks do."""

    def forward(self, src_tokens: Tensor, src_lengths: Tensor, *args: Any, **kwargs: Any) -> Any:
        nn.utils.rnn.pack_padded_sequence(src_tokens, src_lengths, batch_first=True)
        return super().forward(src_tokens, src_lengths, *args, **kwargs)


def test_sorted_batches_stay_sorted_or_are_refused() -> None:
    run(make_criterion(**OUTPUT_ALONE), of_class(Sorted), make_sample(SORTED))
    with pytest.raises(ValueError, match="Sorted needs batches sorted by length.*weight 0"):
        run(make_criterion(), of_class(Sorted), make_sample(SORTED))


class Transposed(LRDropTransformer):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        logits, extra = super().forward(*args, **kwargs)
        return logits.transpose(0, 1), extra


class Logits(TransformerModel):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return super().forward(*args, **kwargs)[0]


def test_an_output_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(ValueError, match="Transposed returns an output of shape"):
        run(make_criterion(**OUTPUT_ALONE), of_class(Transposed), make_sample(SORTED))
    with pytest.raises(ValueError, match="something else than .logits, dictionary"):
        exposed = type("Exposed", (ExposesLayerStates, Logits), {})
        run(make_criterion(), of_class(exposed), make_sample(SORTED))
