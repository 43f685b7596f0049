"""Language models: the whole objective against an obvious implementation, and its properties."""

from __future__ import annotations

import copy
import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fairseq.distributed import ModuleProxyWrapper
from fairseq.logging import metrics
from fairseq.modules import AdaptiveSoftmax
from torch.nn.parallel import DistributedDataParallel

from lrdrop_fairseq import attention
from lrdrop_fairseq.losses import output_chunk
from lrdrop_fairseq.losses.output import output_terms
from lrdrop_fairseq.losses.output_recomputed import recomputed_output_terms
from lrdrop_fairseq.output_layer import adaptive_log_probabilities, chunking_obstacle
from lrdrop_fairseq.siamese import duplicate
from tests.toy import (
    TERMS,
    assert_same,
    draw_dropout_as_fairseq,
    gradients,
    make_criterion,
    make_model,
    make_sample,
    make_task,
    perturb_layers,
    run,
)
from tests.toy_language import (
    ADAPTIVE,
    TIED_PROJECTIONS,
    make_language_criterion,
    make_language_model,
    make_language_task,
    make_language_trainer,
    make_text_batch,
)

ALPHA, BETA, GAMMA, EPSILON, PAD = 0.6, 40.0, 1.7, 0.1, 1
OFF = dict(lr_drop_hidden_weight=0.0, lr_drop_attention_weight=0.0, lr_drop_output_weight=0.0)
DOUBLE = dict(rtol=1e-9, atol=1e-11)
UNTIED = dict(adaptive_softmax_cutoff="10,20", adaptive_softmax_factor=2)
MODELS: dict[str, dict[str, Any]] = {
    "gpt": dict(arch="lr_drop_transformer_lm_gpt"),
    "post-norm": {},
    "shared": dict(share_decoder_input_output_embed=True, activation_dropout=0.1),
    "layerdrop": dict(decoder_layerdrop=0.4, decoder_normalize_before=True),
    "projected": dict(decoder_output_dim=8, decoder_input_dim=8),
    "adaptive softmax": UNTIED,
    "adaptive": ADAPTIVE,
    "wiki103": dict(arch="lr_drop_transformer_lm_wiki103", **TIED_PROJECTIONS),
}  # fmt: skip


def weights(hidden: float, attention: float, output: float) -> dict[str, float]:
    return dict(
        lr_drop_hidden_weight=hidden,
        lr_drop_attention_weight=attention,
        lr_drop_output_weight=output,
    )


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def model_options(request: pytest.FixtureRequest) -> Any:
    return request.param


def scalar(result: Any) -> Any:
    """A result of ``run`` whose loss has no axis, where that of ``adaptive_loss`` has one."""
    return (result[0].view(()), *result[1:])


# --- the objective ---------------------------------------------------------------------------


def log_distribution(model: Any, features: torch.Tensor) -> torch.Tensor:
    """That of one token, C -> V, from the matrices of the model."""
    softmax = model.decoder.adaptive_softmax
    if softmax is None:
        return model.decoder.output_projection(features).log_softmax(-1)
    if hasattr(softmax.head, "word_proj"):
        frequent, classes = softmax.head.word_proj.weight, softmax.head.class_proj.weight
        head = torch.cat([frequent, classes]) @ features
    else:
        head = softmax.head.weight @ features
    head = head.log_softmax(-1)
    parts = [head[: softmax.cutoff[0]]]
    for i, (projection, _, words) in enumerate(softmax.tail):
        inner = projection.weight.t() if getattr(projection, "transpose", False) else (
            projection.weight
        )  # fmt: skip
        parts.append(
            head[softmax.cutoff[0] + i] + (words.weight @ (inner @ features)).log_softmax(-1)
        )
    return torch.cat(parts)


def reference(model: Any, sample: Any, epsilon: float, seed: int = 3) -> Any:
    """LR-Drop word for word on fairseq's untouched model, one token after the other."""
    attention_inputs: list[tuple[Any, torch.Tensor]] = []
    for name, module in model.named_modules():
        if name.endswith("self_attn"):
            module.register_forward_pre_hook(
                lambda m, args, kwargs: attention_inputs.append((m, kwargs["query"])),
                with_kwargs=True,
            )
    model.zero_grad()
    torch.manual_seed(seed)
    features, extra = model(**duplicate(sample)["net_input"], features_only=True)
    n = sample["target"].size(0)
    states = extra["inner_states"][1:]
    kept = sample["net_input"]["src_tokens"].ne(PAD)
    loss = features.new_zeros(())
    for b, t in kept.nonzero():
        for h in states:
            loss = loss + ALPHA * (h[t, b] - h[t, b + n]).square().mean() / len(states)
        for module, query in attention_inputs:
            q = module.q_proj(query).unflatten(-1, (module.num_heads, -1))
            k = module.k_proj(query).unflatten(-1, (module.num_heads, -1))
            maps = [
                torch.einsum("hd,shd->hs", q[t, row], k[: t + 1, row])
                .mul(module.scaling)
                .softmax(-1)
                for row in (b, b + n)
            ]
            distance = (maps[0] - maps[1]).square().mean(dim=-1).mean(dim=0)
            loss = loss + BETA * distance / len(attention_inputs)
        p, q = (log_distribution(model, features[row, t]) for row in (b, b + n))
        other = epsilon / (len(p) - 1)
        for log_probs in (p, q):
            loss = loss - 0.5 * (1 - epsilon - other) * log_probs[sample["target"][b, t]]
            loss = loss - 0.5 * other * log_probs.sum()
        kl = F.kl_div(q, p, reduction="sum", log_target=True)
        kl = kl + F.kl_div(p, q, reduction="sum", log_target=True)
        loss = loss + GAMMA * kl / 2
    loss.backward()
    return loss.detach(), None, gradients(model)


@pytest.mark.parametrize("smoothed", [False, True])
@pytest.mark.parametrize("largest_map", [1 << 17, 0])
def test_equals_the_reference(
    model_options: dict[str, Any],
    smoothed: bool,
    largest_map: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Loss and every gradient, in double; the output loss in several chunks.

    Without dropout in the adaptive softmax, where fairseq draws it for other tokens.
    """
    monkeypatch.setattr(attention, "LARGEST_MAP", largest_map)
    monkeypatch.setattr(output_chunk, "CPU_CHUNK_LOGITS", 5 * 2 * 31)
    draw_dropout_as_fairseq(monkeypatch)
    sample = make_text_batch([5, 3, 1])
    options = {"dropout": 0.3, "adaptive_softmax_dropout": 0.0, **model_options}
    arch = options.get("arch", "lr_drop_transformer_lm")
    model = make_language_model(**options).double()
    stock = make_language_model(**{**options, "arch": arch.removeprefix("lr_drop_")}).double()
    criterion = make_language_criterion(**weights(ALPHA, BETA, GAMMA))
    if smoothed:
        criterion = make_criterion(
            task=make_language_task(), label_smoothing=EPSILON, **weights(ALPHA, BETA, GAMMA)
        )
    expected = reference(stock, sample, EPSILON if smoothed else 0.0)
    # fairseq's attention, which the reference runs, rounds its softmax to float32.
    assert_same(run(criterion, model, sample), expected, rtol=1e-5, atol=1e-5)


def test_adaptive_softmax_by_hand() -> None:
    """Two frequent words, two rare ones. Of the two passes, one token:

    p = (1/2, 1/4, 1/4 * 1/2, 1/4 * 1/2), q = (1/4, 1/2, 1/4 * 1/4, 1/4 * 3/4), the target is the
    last word: CE = (log 8 + log 16/3) / 2, and with p - q = (1/4, -1/4, 1/16, -1/16) and
    log p/q = (log 2, -log 2, log 2, log 2/3)

    J = [1/4 log 2 + 1/4 log 2 + 1/16 log 2 - 1/16 log 2/3] / 2 = [1/2 log 2 + 1/16 log 3] / 2
    """
    softmax = AdaptiveSoftmax(4, 2, [2], dropout=0.0, factor=1.0).double()
    columns = {
        softmax.head.weight: [[1 / 2, 1 / 4], [1 / 4, 1 / 2], [1 / 4, 1 / 4]],
        softmax.tail[0][2].weight: [[1 / 2, 1 / 4], [1 / 2, 3 / 4]],
    }
    with torch.no_grad():
        softmax.tail[0][0].weight.copy_(torch.eye(2))
        for weight, values in columns.items():
            weight.copy_(torch.tensor(values).double().log())
    features = torch.eye(2).double()[None].requires_grad_()  # N 1, P 2, C 2
    terms = recomputed_output_terms(
        features,
        lambda x: adaptive_log_probabilities(softmax, x),
        4,
        torch.tensor([3]),
        label_smoothing=0.0,
        kl_weight=0.7,
        count_correct=True,
    )
    cross_entropy = (math.log(8) + math.log(16 / 3)) / 2
    divergence = (math.log(2) / 2 + math.log(3) / 16) / 2
    assert terms.nll.item() == pytest.approx(cross_entropy, rel=1e-12)
    assert terms.symmetric_kl.item() == pytest.approx(divergence, rel=1e-12)
    assert terms.objective.item() == pytest.approx(cross_entropy + 0.7 * divergence, rel=1e-12)
    assert terms.correct == 0


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_recomputed_chunks_are_the_plain_form(
    dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same loss and gradients, whatever the chunk; with dropout, those of the masks drawn."""
    torch.manual_seed(0)
    softmax = AdaptiveSoftmax(31, 8, [10, 20], dropout=dropout, factor=2).double().train()
    features = torch.randn(11, 2, 8, dtype=torch.float64)
    target = torch.randint(31, (11,))

    def terms(rows: int, x: torch.Tensor) -> Any:
        monkeypatch.setattr(output_chunk, "CPU_CHUNK_LOGITS", rows * 2 * 31)
        torch.manual_seed(3)
        to_log_probs = lambda part: adaptive_log_probabilities(softmax, part)  # noqa: E731
        return recomputed_output_terms(x, to_log_probs, 31, target, 0.1, 1.5)

    def value_and_gradients(rows: int) -> Any:
        softmax.zero_grad()
        x = features.clone().requires_grad_()
        found = terms(rows, x)
        found.objective.backward()
        return found, [x.grad, *(p.grad.clone() for p in softmax.parameters())]

    (whole, plain), (chunked, actual) = value_and_gradients(11), value_and_gradients(4)
    if dropout == 0.0:
        expected = output_terms(adaptive_log_probabilities(softmax, features), target, 0.1, 1.5)
        for found in (whole, chunked):
            torch.testing.assert_close(found, expected, **DOUBLE)
        torch.testing.assert_close(actual, plain, **DOUBLE)
    direction = torch.randn_like(features)
    losses = [terms(4, features + sign * 1e-6 * direction).objective for sign in (1, -1)]
    slope = (actual[0] * direction).sum()
    torch.testing.assert_close((losses[0] - losses[1]) / 2e-6, slope, rtol=1e-6, atol=0.0)
    assert whole.symmetric_kl > 0.01


def test_adaptive_probabilities_are_fairseqs() -> None:
    for options in (UNTIED, ADAPTIVE, TIED_PROJECTIONS):
        model = make_language_model(dropout=0.0, **options).eval()
        features = model(**make_text_batch()["net_input"])[0]
        softmax = model.decoder.adaptive_softmax
        actual = adaptive_log_probabilities(softmax, features)
        torch.testing.assert_close(actual, softmax.get_log_prob(features, None))
        torch.testing.assert_close(actual.exp().sum(-1), torch.ones(actual.shape[:-1]))


# --- plain ----------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["lr_drop_", ""])
@pytest.mark.parametrize("sentence_avg", [False, True])
def test_zero_weights_are_the_plain_criterion_to_the_last_bit(
    model_options: dict[str, Any], prefix: str, sentence_avg: bool
) -> None:
    """``adaptive_loss`` with its own dropout, where the softmax is adaptive."""
    arch = model_options.get("arch", "lr_drop_transformer_lm")
    options = {**model_options, "arch": prefix + arch.removeprefix("lr_drop_")}
    model = make_language_model(**{"dropout": 0.3, "adaptive_softmax_dropout": 0.2, **options})
    name = "cross_entropy" if model.decoder.adaptive_softmax is None else "adaptive_loss"
    sample = make_text_batch()
    plain = scalar(run(make_language_criterion(name, sentence_avg=sentence_avg), model, sample))
    ours = run(make_language_criterion(sentence_avg=sentence_avg, **OFF), model, sample)
    assert_same(ours, plain, rtol=0.0, atol=0.0)
    assert ours[1] == plain[1]


def test_validation_is_one_plain_pass(model_options: dict[str, Any]) -> None:
    model = make_language_model(dropout=0.3, **model_options).eval()
    batch_sizes = []
    model.decoder.register_forward_pre_hook(lambda _, args: batch_sizes.append(args[0].size(0)))
    name = "cross_entropy" if model.decoder.adaptive_softmax is None else "adaptive_loss"
    sample = make_text_batch()
    with torch.no_grad():
        ours = make_language_criterion()(model, sample)
        plain = make_language_criterion(name)(model, sample)
    assert torch.equal(ours[0], plain[0].view(())) and ours[1:] == plain[1:]
    assert batch_sizes == [3, 3]


def at(update: int, criterion: Any) -> Any:
    """The criterion as it is when the trainer has told its task the number of updates."""
    criterion._counter.updates = update
    return criterion


def test_before_the_start_the_step_is_plain(model_options: dict[str, Any]) -> None:
    model = make_language_model(**{"dropout": 0.3, **model_options}).double()
    adaptive = model.decoder.adaptive_softmax is not None
    name = "adaptive_loss" if adaptive else "cross_entropy"
    plain = scalar(run(make_language_criterion(name), model, make_text_batch()))
    ours = run(at(0, make_language_criterion(lr_drop_start=1)), model, make_text_batch())
    # fairseq's cross entropy rounds to float32; its adaptive loss is taken as it is.
    assert_same(
        ours, plain, **(dict(rtol=0.0, atol=0.0) if adaptive else dict(rtol=1e-5, atol=1e-6))
    )
    assert ours[1]["sample_size"] == plain[1]["sample_size"]
    # With label smoothing, where fairseq has no gradient through an adaptive softmax.
    if adaptive:
        smoothed = make_criterion(task=make_language_task(), label_smoothing=0.0, lr_drop_start=1)
        model.decoder.adaptive_softmax.dropout_module.p = 0.0
        for tail in model.decoder.adaptive_softmax.tail:
            tail[1].p = 0.0
        plain = scalar(run(make_language_criterion(name), model, make_text_batch()))
        assert_same(run(at(0, smoothed), model, make_text_batch()), plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("update, strength", [(5, 1 / 3), (6, 2 / 3), (7, 1.0), (100, 1.0)])
@pytest.mark.parametrize("options", [{}, ADAPTIVE], ids=["plain", "adaptive"])
def test_in_the_ramp_all_weights_are_scaled(
    update: int, strength: float, options: dict[str, Any]
) -> None:
    model = make_language_model(dropout=0.3, **options).double()

    def criterion(factor: float, **schedule: int) -> Any:
        scaled = weights(0.7 * factor, 30.0 * factor, 2.0 * factor)
        return make_language_criterion(**scaled, **schedule)

    actual = at(update, criterion(1.0, lr_drop_start=5, lr_drop_ramp=3))
    expected = run(criterion(strength), model, make_text_batch())
    assert_same(run(actual, model, make_text_batch()), expected, **DOUBLE)


def test_the_trainers_count_decides() -> None:
    trainer = make_language_trainer("--lr-drop-start=1", "--lr-drop-ramp=2", "--dropout=0.3")
    seen = []
    trainer.criterion.register_forward_hook(lambda c, args, out: seen.append(out[2]))
    for _ in range(3):
        trainer.train_step([make_text_batch()])
    assert ["output_loss" in log for log in seen] == [False, True, True]
    assert trainer.criterion.strength == 1.0


# --- properties ------------------------------------------------------------------------------


def test_without_dropout_all_terms_are_zero_and_the_loss_is_plain(
    model_options: dict[str, Any],
) -> None:
    options = dict(attention_dropout=0.0, activation_dropout=0.0, adaptive_softmax_dropout=0.0)
    options |= {**model_options, "activation_dropout": 0.0, "decoder_layerdrop": 0.0}
    model = make_language_model(dropout=0.0, **options).double()
    name = "cross_entropy" if model.decoder.adaptive_softmax is None else "adaptive_loss"
    ours = run(make_language_criterion(), model, make_text_batch())
    for term in ("hidden_loss", "attention_loss", "output_loss"):
        assert ours[1][term].abs() < 1e-12, term
    plain = scalar(run(make_language_criterion(name), model, make_text_batch()))
    assert_same(ours, plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours[1]["nll_loss"], plain[0], check_dtype=False)


def test_terms_add_up_to_the_loss(model_options: dict[str, Any]) -> None:
    options = {"dropout": 0.3, **model_options, "decoder_layerdrop": 0.0}  # it may drop them all
    model = make_language_model(**options).double()
    sample = make_text_batch()
    only = run(make_language_criterion(**weights(1e-30, 1e-30, 1e-30)), model, sample)
    full = run(make_language_criterion(**weights(0.7, 30.0, 2.0)), model, sample)
    log = only[1]
    expected = (
        only[0] + 0.7 * log["hidden_loss"] + 30 * log["attention_loss"] + 2 * log["output_loss"]
    )
    torch.testing.assert_close(full[0], expected, rtol=1e-12, atol=0.0)
    torch.testing.assert_close(full[1]["loss"], full[0])
    assert min(log["hidden_loss"], log["attention_loss"], log["output_loss"]) > 1e-6
    torch.testing.assert_close(log["nll_loss"], only[0])


@pytest.mark.parametrize("hidden, attention, output", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
@pytest.mark.parametrize("options", [{}, TIED_PROJECTIONS], ids=["plain", "adaptive"])
def test_gradients_are_those_of_the_loss(
    hidden: float, attention: float, output: float, options: dict[str, Any]
) -> None:
    """Central differences of the whole objective along a random direction of all parameters."""
    dropouts = dict(dropout=0.2, attention_dropout=0.1, adaptive_softmax_dropout=0.2)
    model = make_language_model(**dropouts, **options).double()
    # The attention is always recorded: fairseq's own path rounds its softmax to float32.
    criterion = make_language_criterion(
        **weights(3.0 * hidden, 50.0 * attention + 1e-30, 2.0 * output)
    )
    sample = make_text_batch()
    _, _, grads = run(criterion, model, sample)
    assert set(grads) == {name for name, _ in model.named_parameters()}
    torch.manual_seed(0)
    direction = {name: torch.randn_like(grad) for name, grad in grads.items()}
    # The embedding of the padding has a gradient in the output alone.
    for name in ("decoder.embed_tokens.weight", "decoder.embed_tokens.embeddings.0.0.weight"):
        if name in direction:
            direction[name][PAD] = 0
    losses = []
    for sign in (1, -1):
        moved = copy.deepcopy(model)
        for name, parameter in moved.named_parameters():
            parameter.data.add_(direction[name], alpha=sign * 1e-6)
        losses.append(run(criterion, moved, sample)[0])
    slope = sum((grads[name] * direction[name]).sum() for name in grads)
    torch.testing.assert_close((losses[0] - losses[1]) / 2e-6, slope, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("options", [{}, ADAPTIVE], ids=["plain", "adaptive"])
def test_padding_adds_nothing(options: dict[str, Any]) -> None:
    model = make_language_model(dropout=0.0, **options).double()
    perturb_layers(model)
    criterion = make_language_criterion()
    expected = run(criterion, model, make_text_batch())
    assert min(expected[1][name] for name in TERMS) > 1e-3
    padded = run(criterion, model, make_text_batch(extra_padding=3))
    assert_same(padded, expected, **DOUBLE)
    assert padded[1]["sample_size"] == expected[1]["sample_size"] == 15


@pytest.mark.parametrize("options", [{}, ADAPTIVE], ids=["plain", "adaptive"])
def test_loss_is_the_sum_over_the_parts_of_the_batch(options: dict[str, Any]) -> None:
    model = make_language_model(dropout=0.0, **options).double()
    perturb_layers(model)
    criterion = make_language_criterion()
    whole = make_text_batch([5, 3, 7, 1])
    total = run(criterion, model, whole)
    assert min(total[1][name] for name in TERMS) > 1e-3

    def part(rows: slice) -> Any:
        sample = copy.deepcopy(whole)
        sample["target"] = sample["target"][rows]
        sample["net_input"] = {k: v[rows] for k, v in sample["net_input"].items()}
        sample["ntokens"] = int(sample["target"].ne(PAD).sum())
        return run(criterion, model, sample)

    parts = [part(slice(0, 1)), part(slice(1, 4))]
    torch.testing.assert_close(parts[0][0] + parts[1][0], total[0], **DOUBLE)
    for name, gradient in total[2].items():
        torch.testing.assert_close(parts[0][2][name] + parts[1][2][name], gradient, **DOUBLE)


def test_a_dummy_batch_has_no_gradient(model_options: dict[str, Any]) -> None:
    """fairseq multiplies the loss of a worker without data by 0, in place."""
    model = make_language_model(**{"dropout": 0.3, **model_options})
    for one in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)):
        loss, _, _ = make_language_criterion(**weights(*one))(model, make_text_batch())
        model.zero_grad()
        loss *= 0
        loss.backward()
        assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)


def test_the_dropout_of_the_adaptive_softmax_is_regularized() -> None:
    """It alone makes the two distributions differ, and is that of ``adaptive_loss``."""
    model = make_language_model(dropout=0.0, adaptive_softmax_dropout=0.4, **ADAPTIVE)
    _, log, _ = run(make_language_criterion(), model, make_text_batch())
    assert log["output_loss"] > 1e-3 and log["hidden_loss"] == 0
    for tail in model.decoder.adaptive_softmax.tail:
        tail[1].p = 0.0  # of the features alone, which fairseq draws as we do
    sample = make_text_batch([4, 4])  # no padding
    double = {**duplicate(sample), "target": torch.cat([sample["target"]] * 2)}
    ours = make_language_criterion(**weights(0, 0, 1e-30))
    model.decoder.adaptive_softmax.dropout_module.register_forward_hook(
        lambda module, args, output: args[0] * torch.linspace(0, 2, 16)
    )
    plain = make_language_criterion("adaptive_loss")(model, double)[0] / 2
    torch.testing.assert_close(ours(model, sample)[0], plain.view(()))


@pytest.mark.parametrize("options", [{}, UNTIED], ids=["plain", "adaptive softmax"])
def test_autocast_leaves_the_losses_in_float32(options: dict[str, Any]) -> None:
    """Not of an adaptive input, whose bands fairseq writes into a float32 tensor."""
    model, sample = make_language_model(dropout=0.3, **options), make_text_batch()
    expected = run(make_language_criterion(), model, sample)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.manual_seed(3)
        loss, _, log = make_language_criterion()(model, sample)
    assert loss.dtype == torch.float32 and loss.isfinite()
    torch.testing.assert_close(loss, expected[0], rtol=0.05, atol=0.0)
    for name in ("hidden_loss", "attention_loss", "output_loss"):
        torch.testing.assert_close(log[name], expected[1][name], rtol=0.1, atol=0.0)


def test_with_other_dictionaries_for_the_output() -> None:
    """``--output-dictionary-size``: fewer words to predict than to read."""
    from fairseq.data.dictionary import TruncatedDictionary

    task = make_language_task()
    task.output_dictionary = TruncatedDictionary(task.dictionary, 20)
    sample = make_text_batch()
    sample["target"] = sample["target"].where(sample["target"] < 20, 3)
    model = make_language_model(dropout=0.3)
    model.decoder.output_projection = torch.nn.Linear(16, 20, bias=False)
    _, log, grads = run(make_language_criterion(task=task), model, sample)
    assert log["output_loss"] > 0 and grads["decoder.output_projection.weight"].shape == (20, 16)


def test_the_output_loss_is_chunked_where_the_output_is_one_matrix(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for arch in ("transformer_lm", "lr_drop_transformer_lm", "lr_drop_transformer_lm_gpt"):
        assert chunking_obstacle(make_language_model(arch)) is None
    assert chunking_obstacle(make_language_model(**UNTIED)) == "adaptive softmax"
    with caplog.at_level(logging.INFO, "lrdrop_fairseq"):
        run(
            make_language_criterion(), make_language_model(dropout=0.1, **UNTIED), make_text_batch()
        )
    assert "computes all probabilities twice, because of adaptive softmax" in caplog.text


def test_perplexity_is_that_of_the_words_before_and_after_the_start() -> None:
    """By hand, two workers: 3 and 1 tokens. The first update has no terms."""
    plain = dict(loss=torch.tensor([8.0]), ntokens=4, nsentences=1, sample_size=4)
    logs = [
        dict(loss=3.0, nll_loss=2.0, hidden_loss=6.0, attention_loss=0.5, output_loss=1.0,
             ntokens=3, nsentences=1, sample_size=1),
        dict(loss=1.0, nll_loss=2.0, hidden_loss=2.0, attention_loss=0.1, output_loss=3.0,
             ntokens=1, nsentences=1, sample_size=1),
    ]  # fmt: skip
    cls = type(make_language_criterion())
    with metrics.aggregate() as aggregator:
        cls.reduce_metrics([plain])
        values = aggregator.get_smoothed_values()
        assert values["nll_loss"] == values["loss"] == round(2 / math.log(2), 3)
        assert "hidden_loss" not in values
        cls.reduce_metrics(logs)
    with metrics.aggregate() as aggregator:
        cls.reduce_metrics(logs)
    values = aggregator.get_smoothed_values()
    assert values["loss"] == round(4 / 2 / math.log(2), 3)
    assert values["nll_loss"] == round(4 / 4 / math.log(2), 3)
    assert values["ppl"] == pytest.approx(math.e, abs=0.01)
    assert values["hidden_loss"] == 2.0
    assert values["attention_loss"] == pytest.approx(0.15)
    assert values["output_loss"] == pytest.approx(4 / 4 / math.log(2))


# --- refusals --------------------------------------------------------------------------------


def test_other_targets_than_the_next_word_are_refused() -> None:
    for targets in (["self"], ["past"], ["future", "self"]):
        task = make_language_task()
        task.targets = targets
        with pytest.raises(ValueError, match="predicts more than the next word.*--self-target"):
            make_language_criterion(task=task)


def test_empty_sentences_that_fill_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="--pad-to-fixed-bsz fills batches"):
        make_language_criterion(task=make_language_task(pad_to_fixed_bsz=True))


def test_an_architecture_without_layer_states_is_refused_before_the_first_update() -> None:
    with pytest.raises(ValueError, match="exposes no layer states.*lr_drop_transformer_lm"):
        make_language_criterion()(make_language_model("transformer_lm"), make_text_batch())
    model = make_language_model("transformer_lm", dropout=0.1)
    run(make_language_criterion(**weights(0, 0, 1)), model, make_text_batch())


def test_an_architecture_of_another_task_is_refused() -> None:
    """Whatever the terms."""
    for one in (weights(0, 0, 1), weights(1, 1, 1)):
        criterion = make_language_criterion(**one)
        with pytest.raises(ValueError, match="cannot be trained on the batches.*lr_drop_transform"):
            criterion(make_model(dropout=0.1), make_text_batch())
        criterion = make_language_criterion(task=make_task(), **one)
        with pytest.raises(ValueError, match="is a language model, and this task translates"):
            criterion(make_language_model(dropout=0.1), make_sample())


def test_a_translation_trains_with_it_too() -> None:
    criterion = make_language_criterion(task=make_task())
    smoothed = make_criterion(label_smoothing=0.0)
    model = make_model(dropout=0.3)
    assert_same(run(criterion, model, make_sample()), run(smoothed, model, make_sample()))


@pytest.mark.parametrize("options", [UNTIED, dict(adaptive_input=True, adaptive_input_cutoff="9")])
@pytest.mark.parametrize("off", [{}, OFF], ids=["terms", "plain"])
def test_bands_of_words_are_refused_under_torchs_ddp(
    options: dict[str, Any], off: dict[str, float], tmp_path: Path
) -> None:
    """As fairseq's ``adaptive_loss`` refuses them; of an adaptive input alone fairseq does not."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meeting_point", rank=0, world_size=1
    )
    try:
        wrapped = ModuleProxyWrapper(DistributedDataParallel(make_language_model(**options)))
        if off and "adaptive_input" in options:
            assert make_language_criterion(**off)(wrapped, make_text_batch())[0].isfinite()
            return
        with pytest.raises(ValueError, match="--ddp-backend legacy_ddp"):
            make_language_criterion(**off)(wrapped, make_text_batch())
        if off:
            return
        smoothed = make_criterion(task=make_language_task())
        if "adaptive_input" not in options:  # it uses all words of the softmax
            assert smoothed(wrapped, make_text_batch())[0].isfinite()
            return
        with pytest.raises(ValueError, match="--ddp-backend legacy_ddp"):
            smoothed(wrapped, make_text_batch())
    finally:
        torch.distributed.destroy_process_group()
