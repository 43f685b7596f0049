"""Properties of the criterion on real models: loss and every gradient."""

from __future__ import annotations

import copy
import logging
import math
from argparse import Namespace
from typing import Any

import pytest
import torch
from fairseq.logging import metrics
from fairseq.models import register_model_architecture
from fairseq.sequence_generator import SequenceGenerator

import lrdrop_fairseq.criterions.next_word as module
from lrdrop_fairseq import output_layer
from lrdrop_fairseq.criterions import checks
from tests.toy import (
    TERMS,
    assert_same,
    make_criterion,
    make_model,
    make_sample,
    make_task,
    perturb_layers,
    run,
)

OFF = dict(lr_drop_hidden_weight=0.0, lr_drop_attention_weight=0.0, lr_drop_output_weight=0.0)
DOUBLE = dict(rtol=1e-9, atol=1e-11)


def weights(hidden: float, attention: float, output: float) -> dict[str, float]:
    return dict(
        lr_drop_hidden_weight=hidden,
        lr_drop_attention_weight=attention,
        lr_drop_output_weight=output,
    )


@pytest.mark.parametrize("arch", ["lr_drop_transformer", "transformer"])
@pytest.mark.parametrize("sentence_avg", [False, True])
def test_zero_weights_are_the_plain_criterion_to_the_last_bit(
    arch: str, sentence_avg: bool
) -> None:
    sample = make_sample()
    model = make_model(arch, dropout=0.3, attention_dropout=0.1)
    options = dict(sentence_avg=sentence_avg, report_accuracy=True, ignore_prefix_size=1)
    plain = run(make_criterion("label_smoothed_cross_entropy", **options), model, sample)
    ours = run(make_criterion(**options, **OFF), model, sample)
    assert_same(ours, plain, rtol=0.0, atol=0.0)
    assert ours[1] == plain[1]


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.0}])
@pytest.mark.parametrize(
    "model_options",
    [{}, {"share_all_embeddings": True}, {"attention_dropout": 0.2, "activation_dropout": 0.1}],
)
def test_output_term_alone_is_half_of_fairseqs_rdrop(options: Any, model_options: Any) -> None:
    model = make_model(dropout=0.3, **model_options).double()
    theirs = make_criterion("label_smoothed_cross_entropy_with_rdrop", rdrop_alpha=5.0, **options)
    ours = make_criterion(**weights(0.0, 0.0, 2.5), **options)
    # fairseq's criterion writes the doubled batch into the sample it was given.
    expected = run(theirs, model, make_sample())
    # get_normalized_probs rounds to float32, hence the tolerance.
    assert_same(run(ours, model, make_sample()), expected, factor=2.0, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ignored", [0, 2])
def test_without_dropout_all_terms_are_zero_and_the_loss_is_plain(ignored: int) -> None:
    model = make_model(dropout=0.0).double()
    sample = make_sample()
    ours = run(make_criterion(ignore_prefix_size=ignored), model, sample)
    for term in ("hidden_loss", "attention_loss", "output_loss"):
        assert ours[1][term].abs() < 1e-12, term
    criterion = make_criterion("label_smoothed_cross_entropy", ignore_prefix_size=ignored)
    plain = run(criterion, model, sample)
    assert_same(ours, plain, rtol=1e-5, atol=1e-6)
    for name in ("nll_loss", "ntokens", "nsentences", "sample_size"):
        assert math.isclose(ours[1][name], plain[1][name], rel_tol=1e-5), name


def test_terms_add_up_to_the_loss() -> None:
    model = make_model(dropout=0.3).double()
    sample = make_sample()
    two_passes = run(make_criterion(**weights(1e-30, 0.0, 0.0)), model, sample)
    # All three terms are recorded on the same path of the attention, so the masks are the same.
    only = run(make_criterion(**weights(1e-30, 1e-30, 1e-30)), model, sample)
    full = run(make_criterion(**weights(0.7, 30.0, 2.0)), model, sample)
    log = only[1]
    expected = (
        only[0] + 0.7 * log["hidden_loss"] + 30 * log["attention_loss"] + 2 * log["output_loss"]
    )
    torch.testing.assert_close(full[0], expected, rtol=1e-12, atol=0.0)
    torch.testing.assert_close(full[1]["loss"], full[0])
    assert min(log["hidden_loss"], log["attention_loss"], log["output_loss"]) > 1e-6
    torch.testing.assert_close(two_passes[1]["hidden_loss"], log["hidden_loss"])


@pytest.mark.parametrize("hidden, attention, output", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
def test_gradients_are_those_of_the_loss(hidden: float, attention: float, output: float) -> None:
    """Central differences of the whole objective along a random direction of all parameters."""
    model = make_model(dropout=0.2, attention_dropout=0.1, share_all_embeddings=True).double()
    # The attention is always recorded: fairseq's own path rounds its softmax to float32.
    criterion = make_criterion(**weights(3.0 * hidden, 50.0 * attention + 1e-30, 2.0 * output))
    sample = make_sample()
    _, _, grads = run(criterion, model, sample)
    torch.manual_seed(0)
    direction = {name: torch.randn_like(grad) for name, grad in grads.items()}
    step = 1e-6
    losses = []
    for sign in (1, -1):
        moved = copy.deepcopy(model)
        for name, parameter in moved.named_parameters():
            parameter.data.add_(direction[name], alpha=sign * step)
        losses.append(run(criterion, moved, sample)[0])
    slope = sum((grads[name] * direction[name]).sum() for name in grads)
    torch.testing.assert_close((losses[0] - losses[1]) / (2 * step), slope, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("left_pad", [False, True])
def test_padding_adds_nothing(left_pad: bool) -> None:
    """Of the whole criterion; each term by itself: see tests/losses."""
    model = make_model(dropout=0.0).double()
    perturb_layers(model)
    criterion = make_criterion()
    expected = run(criterion, model, make_sample(left_pad=left_pad))
    assert min(expected[1][name] for name in TERMS) > 1e-3
    padded = run(criterion, model, make_sample(left_pad=left_pad, extra_padding=3))
    assert_same(padded, expected, **DOUBLE)


def test_loss_is_the_sum_over_the_parts_of_the_batch() -> None:
    """Dropout 0, so that the parts see the same model: what --update-freq 2 accumulates."""
    model = make_model(dropout=0.0).double()
    perturb_layers(model)
    criterion = make_criterion()
    lengths = [(5, 4), (3, 7), (6, 1), (2, 9)]
    whole = make_sample(lengths)
    total = run(criterion, model, whole)
    assert min(total[1][name] for name in TERMS) > 1e-3

    def part(rows: slice) -> Any:
        sample = copy.deepcopy(whole)
        sample["target"] = sample["target"][rows]
        sample["net_input"] = {k: v[rows] for k, v in sample["net_input"].items()}
        sample["ntokens"] = sum(target for _, target in lengths[rows])
        return run(criterion, model, sample)

    parts = [part(slice(0, 1)), part(slice(1, 4))]
    torch.testing.assert_close(parts[0][0] + parts[1][0], total[0], **DOUBLE)
    for name, gradient in total[2].items():
        torch.testing.assert_close(parts[0][2][name] + parts[1][2][name], gradient, **DOUBLE)


def test_a_dummy_batch_has_no_gradient() -> None:
    """fairseq multiplies the loss of a worker without data by 0, in place."""
    model = make_model(dropout=0.3)
    for one in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)):
        loss, _, _ = make_criterion(**weights(*one))(model, make_sample())
        model.zero_grad()
        loss *= 0
        loss.backward()
        assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)


def test_attention_dropout_is_applied() -> None:
    """It alone makes the passes differ, on the path that records queries and keys."""
    _, log, _ = run(make_criterion(), make_model(attention_dropout=0.3, dropout=0.0), make_sample())
    # The first layer's map is the same in both passes: the maps are those before the dropout.
    assert min(log["hidden_loss"], log["attention_loss"], log["output_loss"]) > 1e-6


def test_autocast_leaves_the_losses_in_float32() -> None:
    model, sample = make_model(dropout=0.3), make_sample()
    expected = run(make_criterion(), model, sample)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.manual_seed(3)
        loss, _, log = make_criterion()(model, sample)
    assert loss.dtype == torch.float32 and loss.isfinite()
    torch.testing.assert_close(loss, expected[0], rtol=0.05, atol=0.0)
    for name in ("hidden_loss", "attention_loss", "output_loss"):
        torch.testing.assert_close(log[name], expected[1][name], rtol=0.1, atol=0.0)


def test_the_sample_is_never_changed() -> None:
    sample = make_sample()
    before = copy.deepcopy(sample)
    run(make_criterion(), make_model(dropout=0.1), sample)
    assert (
        sample.keys() == before.keys() and sample["net_input"].keys() == before["net_input"].keys()
    )
    assert torch.equal(sample["target"], before["target"])
    for name, value in before["net_input"].items():
        assert torch.equal(sample["net_input"][name], value)


def test_validation_is_one_plain_pass() -> None:
    model = make_model(dropout=0.3).eval()
    batch_sizes = []
    model.encoder.register_forward_pre_hook(
        lambda _, args: batch_sizes.append(args[0].size(0)), prepend=True
    )
    sample = make_sample()
    ours = make_criterion(report_accuracy=True)(model, sample)
    plain = make_criterion("label_smoothed_cross_entropy", report_accuracy=True)(model, sample)
    assert torch.equal(ours[0], plain[0]) and ours[2] == plain[2]
    assert batch_sizes == [3, 3]


def test_eval_bleu_generates_from_one_plain_pass() -> None:
    """The loss is the plain one, and generation encodes the batch once more, undoubled."""
    task = make_task()
    task.cfg.eval_bleu = True
    model = make_model(dropout=0.3)
    task.sequence_generator = SequenceGenerator([model], task.target_dictionary, beam_size=2)
    batch_sizes = []
    embed = model.encoder.forward_embedding

    def watch(src_tokens: torch.Tensor, *args: Any) -> Any:
        batch_sizes.append(src_tokens.size(0))
        return embed(src_tokens, *args)

    model.encoder.forward_embedding = watch
    task._inference_with_bleu = lambda generator, sample, model: Namespace(
        sys_len=1, ref_len=1, counts=[1] * 4, totals=[1] * 4,
        hypotheses=generator.generate([model], sample),
    )  # fmt: skip
    loss, _, _ = task.valid_step(make_sample(), model, make_criterion(task=task))
    assert batch_sizes == [3, 3]
    plain = make_criterion("label_smoothed_cross_entropy")(model.eval(), make_sample())
    assert torch.equal(loss, plain[0])


def test_sentence_avg_changes_only_the_sample_size() -> None:
    model, sample = make_model(dropout=0.1), make_sample()
    results = []
    for sentence_avg in (False, True):
        torch.manual_seed(0)
        results.append(make_criterion(sentence_avg=sentence_avg)(model, sample))
    assert torch.equal(results[0][0], results[1][0])
    assert (results[0][1], results[1][1]) == (12, 3)


@pytest.mark.parametrize("ignored", [0, 1])
def test_accuracy_is_that_of_the_plain_criterion_without_dropout(ignored: int) -> None:
    model, sample = make_model(dropout=0.0), make_sample()
    options = dict(report_accuracy=True, ignore_prefix_size=ignored)
    # Targets are the model's own guesses, but for the padding and half of the words.
    with torch.no_grad():
        guesses = model(**sample["net_input"])[0].argmax(-1)
    keep = sample["target"].eq(1) | torch.rand(guesses.shape).lt(0.5)
    sample["target"] = sample["target"].where(keep, guesses)
    ours = run(make_criterion(**options), model, sample)[1]
    plain = run(make_criterion("label_smoothed_cross_entropy", **options), model, sample)[1]
    assert ours["n_correct"] == plain["n_correct"] > 0
    assert ours["total"] == plain["total"]


def test_adaptive_softmax_takes_the_plain_form(caplog: pytest.LogCaptureFixture) -> None:
    options = dict(adaptive_softmax_cutoff="10,20", adaptive_softmax_dropout=0.0)
    model = make_model(dropout=0.3, **options)
    criterion = make_criterion()
    with caplog.at_level(logging.INFO, "lrdrop_fairseq"):
        loss, log, grads = run(criterion, model, make_sample())
        run(criterion, model, make_sample())
    assert sum("because of adaptive softmax" in record.message for record in caplog.records) == 1
    assert loss.isfinite() and log["output_loss"] > 0
    assert any(name.startswith("decoder.adaptive_softmax") for name in grads)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_validation_of_an_adaptive_softmax_is_summed_in_float32(dtype: torch.dtype) -> None:
    """fairseq sums in the model's precision: with float16 that is infinite from 65,504 nats on."""
    model = make_model(adaptive_softmax_cutoff="10,20").eval()
    sample = make_sample([(5, 60), (3, 70)])
    criterion, plain = make_criterion(), make_criterion("label_smoothed_cross_entropy")
    with torch.no_grad():
        expected = plain(model, sample)
        same = criterion(model, sample)
        actual = criterion(model.to(dtype), sample)
        assert plain(model, sample)[0].dtype == dtype
    assert actual[0].dtype == actual[2]["nll_loss"].dtype == torch.float32
    for found, rtol in ((same, 1e-5), (actual, 2 * torch.finfo(dtype).eps)):
        torch.testing.assert_close(found[0], expected[0], rtol=rtol, atol=0.0)
        nll = found[2]["nll_loss"], expected[2]["nll_loss"]
        torch.testing.assert_close(*nll, rtol=rtol, atol=0.0)
        assert found[1] == expected[1] and found[2].keys() == expected[2].keys()


def test_adaptive_log_probabilities_are_fairseqs() -> None:
    model = make_model(dropout=0.0, adaptive_softmax_cutoff="10,20").eval()
    features = model(**make_sample()["net_input"])[0]
    expected = model.decoder.adaptive_softmax.get_log_prob(features, None)
    actual = output_layer.adaptive_log_probabilities(model.decoder.adaptive_softmax, features)
    torch.testing.assert_close(actual, expected)


def test_plain_and_chunked_output_losses_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    model, sample, criterion = make_model(dropout=0.3), make_sample(), make_criterion()
    chunked = run(criterion, model, sample)
    monkeypatch.setattr(module, "output_projection", lambda model: None)
    plain = run(criterion, model, sample)
    assert_same(chunked, plain, rtol=1e-5, atol=1e-5)
    for name in ("nll_loss", "hidden_loss", "attention_loss", "output_loss"):
        torch.testing.assert_close(chunked[1][name], plain[1][name], rtol=1e-5, atol=1e-6)


def test_metrics_are_per_token_and_aggregated_over_workers() -> None:
    """Two workers by hand: 3 and 1 tokens; nats become bits for the entropies only."""
    logs = [
        dict(loss=3.0, nll_loss=2.0, hidden_loss=6.0, attention_loss=0.5, output_loss=1.0,
             ntokens=3, nsentences=1, sample_size=3),
        dict(loss=1.0, nll_loss=2.0, hidden_loss=2.0, attention_loss=0.1, output_loss=3.0,
             ntokens=1, nsentences=1, sample_size=1),
    ]  # fmt: skip
    with metrics.aggregate() as aggregator:
        type(make_criterion()).reduce_metrics(logs)
    values = aggregator.get_smoothed_values()
    assert values["loss"] == round(4 / 4 / math.log(2), 3)
    assert values["nll_loss"] == round(4 / 4 / math.log(2), 3)
    assert values["hidden_loss"] == 2.0
    assert values["attention_loss"] == pytest.approx(0.15)
    assert values["output_loss"] == pytest.approx(4 / 4 / math.log(2))


@pytest.mark.parametrize("name", ["hidden", "attention", "output"])
@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf"), 1e30, 1e-40])
def test_a_bad_weight_is_refused(name: str, weight: float) -> None:
    with pytest.raises(ValueError, match=f"--lr-drop-{name}-weight"):
        make_criterion(**{f"lr_drop_{name}_weight": weight})


@pytest.mark.parametrize("weight", [checks.SMALLEST_WEIGHT, checks.LARGEST_WEIGHT])
def test_what_is_not_refused_has_finite_gradients(weight: float) -> None:
    model = make_model(dropout=0.3)
    loss, _, grads = run(make_criterion(**weights(weight, weight, weight)), model, make_sample())
    assert loss.isfinite() and all(gradient.isfinite().all() for gradient in grads.values())


@pytest.mark.parametrize("probability", [-0.1, 1.0, float("nan")])
def test_a_bad_label_smoothing_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="--label-smoothing"):
        make_criterion(label_smoothing=probability)


def test_an_architecture_without_layer_states_is_refused_before_the_first_update() -> None:
    criterion = make_criterion()
    with pytest.raises(ValueError, match="exposes no layer states.*lr_drop_transformer_iwslt") as e:
        criterion(make_model("transformer"), make_sample())
    assert "lr_drop_bart" not in str(e.value), "another model's"
    # Neither validation nor the output term needs them.
    criterion(make_model("transformer").eval(), make_sample())
    run(make_criterion(**weights(0, 0, 1)), make_model("transformer"), make_sample())


def test_an_unreduced_training_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="reduce=False"):
        make_criterion()(make_model(dropout=0.1), make_sample(), reduce=False)


def test_dropout_zero_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    criterion, model = make_criterion(), make_model(dropout=0.0)
    for _ in range(2):
        criterion(model, make_sample())
    assert sum("nothing to regularize" in record.message for record in caplog.records) == 1
    caplog.clear()
    make_criterion()(make_model(dropout=0.0, attention_dropout=0.1), make_sample())
    assert not caplog.records


def test_a_task_without_targets_is_refused() -> None:
    task = make_task()
    task.tgt_dict = None
    with pytest.raises(ValueError, match="TranslationTask has no targets"):
        make_criterion(task=task)


def test_an_encoder_that_cannot_be_seen_is_refused() -> None:
    model = make_model(dropout=0.1)
    model.decoder = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match="decoder of this model is Linear"):
        make_criterion()(model, make_sample())


class FullyShardedDataParallel(torch.nn.Module):
    """Stands for fairscale's wrapper of this name, which needs a GPU."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.module, name)

    def forward(self, *args: Any, **options: Any) -> Any:
        return self.module(*args, **options)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("one", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_sharded_parameters_are_refused(whole: bool, one: tuple[int, int, int]) -> None:
    """Whether the model is wrapped or, as fairseq does it too, each of its layers."""
    model = make_model(dropout=0.1)
    if whole:
        model = FullyShardedDataParallel(model)
    else:
        model.encoder.layers[0] = FullyShardedDataParallel(model.encoder.layers[0])
    with pytest.raises(ValueError, match="--ddp-backend fully_sharded.*pytorch_ddp"):
        make_criterion(**weights(*one))(model, make_sample())
    make_criterion(**weights(*one))(model.eval(), make_sample())
    make_criterion(**OFF)(model.train(), make_sample())  # nothing but fairseq's own


def test_an_architecture_of_ones_own_needs_one_line() -> None:
    from fairseq.models import ARCH_MODEL_REGISTRY, register_model
    from fairseq.models.transformer import TransformerModel, base_architecture

    from lrdrop_fairseq.models.exposed import ExposesLayerStates

    if "own" not in ARCH_MODEL_REGISTRY:

        @register_model("own")
        class Own(ExposesLayerStates, TransformerModel):
            pass

        register_model_architecture("own", "own")(base_architecture)
    _, log, _ = run(make_criterion(), make_model("own", dropout=0.1), make_sample())
    assert min(log["hidden_loss"], log["attention_loss"], log["output_loss"]) > 0
