"""``lr_drop_sentence_prediction``: against fairseq's criterion, and against the formula."""

from __future__ import annotations

import copy
import logging
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fairseq.logging import metrics

from lrdrop_fairseq import attention
from lrdrop_fairseq.layer_states import LayerStates
from lrdrop_fairseq.layer_terms import hidden_term
from lrdrop_fairseq.siamese import duplicate
from tests.toy import (
    assert_same,
    draw_dropout_as_fairseq,
    gradients,
    make_criterion,
    make_sample,
    make_task,
    perturb_layers,
    run,
)
from tests.toy_sentences import (
    HEAD,
    make_sentence_criterion,
    make_sentence_model,
    make_sentence_task,
    make_sentences,
)

PLAIN = "sentence_prediction"
OFF = dict(lr_drop_hidden_weight=0.0, lr_drop_attention_weight=0.0, lr_drop_output_weight=0.0)
DOUBLE = dict(rtol=1e-9, atol=1e-11)
TERMS = ("hidden_loss", "attention_loss", "output_loss")
ALPHA, BETA, GAMMA, PAD = 0.6, 40.0, 1.7, 1

both_kinds = pytest.mark.parametrize("regression", [False, True], ids=["classes", "regression"])
# BART is given the sentence to encoder and decoder (--add-prev-output-tokens).
both_models = pytest.mark.parametrize("arch", ["lr_drop_roberta", "lr_drop_bart"])


def weights(hidden: float, attention: float, output: float) -> dict[str, float]:
    return dict(
        lr_drop_hidden_weight=hidden,
        lr_drop_attention_weight=attention,
        lr_drop_output_weight=output,
    )


def step(arch: str, regression: bool, model_options: Any = None, **options: Any) -> Any:
    """Loss, log and gradients of ``sentence_prediction`` and of ours, on the same model."""
    task = make_sentence_task(regression)
    model = make_sentence_model(arch, task, **(model_options or {}))
    sample = make_sentences(regression=regression, decoder_input="bart" in arch)
    criterions = (
        make_sentence_criterion(PLAIN, task),
        make_sentence_criterion(task=task, **options),
    )
    return [run(criterion, model, sample) for criterion in criterions]


@both_kinds
@both_models
def test_zero_weights_are_the_plain_criterion_to_the_last_bit(arch: str, regression: bool) -> None:
    plain, ours = step(arch, regression, **OFF)
    assert_same(ours, plain, rtol=0.0, atol=0.0)
    assert ours[1] == plain[1]


@both_kinds
@both_models
def test_without_dropout_the_loss_is_plain(arch: str, regression: bool) -> None:
    none = dict(dropout=0.0, attention_dropout=0.0)
    plain, ours = step(arch, regression, none)
    assert_same(ours, plain, rtol=1e-4, atol=1e-5)
    assert all(ours[1][term].abs() < 1e-10 for term in TERMS)
    torch.testing.assert_close(ours[1]["task_loss"], plain[1]["loss"], rtol=1e-5, atol=1e-5)
    for name in ("ntokens", "nsentences", "sample_size", "ncorrect"):
        assert ours[1].get(name) == plain[1].get(name), name


def reference(model: Any, sample: Any, regression: bool, seed: int = 3) -> Any:
    """The formula on fairseq's untouched RoBERTa, one sentence and one token after the other."""
    attention_inputs: list[tuple[Any, torch.Tensor]] = []
    for name, module in model.named_modules():
        if name.endswith("self_attn"):
            module.register_forward_pre_hook(
                lambda module, args, kwargs: attention_inputs.append((module, kwargs["query"])),
                with_kwargs=True,
            )
    model.zero_grad()
    torch.manual_seed(seed)
    logits, extra = model(
        **duplicate(sample)["net_input"], classification_head_name=HEAD, return_all_hiddens=True
    )
    n = len(sample["target"])
    states = extra["inner_states"][1:]
    loss = logits.new_zeros(())
    for b, tokens in enumerate(sample["net_input"]["src_tokens"]):
        real = tokens.ne(PAD).nonzero().squeeze(-1)
        for t in real:
            for h in states:
                distance = (h[t, b] - h[t, b + n]).square().mean() / len(states)
                loss = loss + ALPHA * distance / len(real)
            for module, x in attention_inputs:
                maps = []
                for row in (b, b + n):
                    q = module.q_proj(x[t, row]).unflatten(-1, (module.num_heads, -1))
                    k = module.k_proj(x[real, row]).unflatten(-1, (module.num_heads, -1))
                    maps.append(torch.einsum("hd,shd->hs", q, k).mul(module.scaling).softmax(-1))
                distance = (maps[0] - maps[1]).square().mean() / len(attention_inputs)
                loss = loss + BETA * distance / len(real)
        target = sample["target"][b]
        if regression:
            errors = [(logits[row, 0] - target[0].double()).square() for row in (b, b + n)]
            loss = loss + sum(errors) / 2 + GAMMA * (logits[b, 0] - logits[b + n, 0]).square()
        else:
            p, q = logits[b].log_softmax(-1), logits[b + n].log_softmax(-1)
            kl = F.kl_div(q, p, reduction="sum", log_target=True)
            kl = kl + F.kl_div(p, q, reduction="sum", log_target=True)
            loss = loss - (p[target[0]] + q[target[0]]) / 2 + GAMMA * kl / 2
    loss.backward()
    return loss.detach(), None, gradients(model)


@both_kinds
@pytest.mark.parametrize("largest_map", [1 << 17, 0], ids=["maps", "blockwise"])
@pytest.mark.parametrize(
    "options", [{}, dict(encoder_normalize_before=True), dict(encoder_layerdrop=0.4)],
    ids=["post-norm", "pre-norm", "layerdrop"],
)  # fmt: skip
def test_equals_the_formula(
    regression: bool, largest_map: int, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "LARGEST_MAP", largest_map)
    draw_dropout_as_fairseq(monkeypatch)
    task = make_sentence_task(regression)
    options = dict(dropout=0.3, attention_dropout=0.0, **options)
    ours = make_sentence_model("lr_drop_roberta", task, **options).double()
    stock = make_sentence_model("roberta", task, **options).double()
    sample = make_sentences((5, 3, 2), regression)
    criterion = make_sentence_criterion(task=task, **weights(ALPHA, BETA, GAMMA))
    expected = reference(stock, sample, regression)
    assert_same(run(criterion, ours, sample), expected, rtol=1e-6, atol=1e-6)


@both_kinds
@both_models
def test_padding_adds_nothing_and_the_loss_is_the_sum_over_sentences(
    arch: str, regression: bool
) -> None:
    task = make_sentence_task(regression)
    model = make_sentence_model(arch, task, dropout=0.0, attention_dropout=0.0).double()
    perturb_layers(model)
    criterion = make_sentence_criterion(task=task)
    options = dict(regression=regression, decoder_input="bart" in arch)
    whole = make_sentences(**options)
    expected = run(criterion, model, whole)
    padded = run(criterion, model, make_sentences(extra_padding=3, **options))
    assert min(expected[1][name] for name in TERMS) > 0
    assert_same(padded, expected, **DOUBLE)
    parts = []
    for rows in (slice(0, 1), slice(1, 4)):
        sample = copy.deepcopy(whole)
        sample["target"] = sample["target"][rows]
        sample["net_input"] = {k: v[rows] for k, v in sample["net_input"].items()}
        parts.append(run(criterion, model, sample))
    torch.testing.assert_close(parts[0][0] + parts[1][0], expected[0], **DOUBLE)
    for name, gradient in expected[2].items():
        both = parts[0][2][name] + parts[1][2][name]
        torch.testing.assert_close(both, gradient, rtol=1e-6, atol=1e-9)


def test_a_sentences_length_does_not_weigh_its_layer_terms() -> None:
    """HSR of a sentence is the mean over its tokens: 2 and 8 tokens weigh alike, none nothing."""
    # B x T distances: 3 for each real token, rubbish at the padding.
    distance = torch.full((3, 8), 3.0)
    padding = torch.zeros(3, 8, dtype=torch.bool)
    padding[0, 2:], distance[0, 2:] = True, float("nan")
    padding[2], distance[2] = True, float("nan")
    recorded = LayerStates(encoder_hidden=[distance, 2 * distance])
    assert hidden_term(recorded, padding, padding).item() == 4.5 * 10
    assert hidden_term(recorded, padding, padding, mean_of_tokens=True).item() == 4.5 * 2


@both_kinds
@pytest.mark.parametrize("one", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_each_term_alone(regression: bool, one: tuple[int, int, int]) -> None:
    """A term is logged if and only if it is on, and adds its weighted self to the loss."""
    log = step("lr_drop_roberta", regression, **weights(*one))[1][1]
    on = [name for name, weight in zip(TERMS, one) if weight]
    assert [name for name in TERMS if name in log] == on
    torch.testing.assert_close(log["loss"], log["task_loss"] + log[on[0]])
    assert log[on[0]] > 0


def test_a_dummy_batch_has_no_gradient() -> None:
    model = make_sentence_model()
    loss, _, _ = make_sentence_criterion()(model, make_sentences())
    loss *= 0
    loss.backward()
    assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)


@both_kinds
def test_validation_is_one_plain_pass(regression: bool) -> None:
    task = make_sentence_task(regression)
    model = make_sentence_model(task=task).eval()
    batch_sizes: list[int] = []
    model.encoder.register_forward_pre_hook(lambda _, args: batch_sizes.append(len(args[0])))
    sample = make_sentences(regression=regression)
    report = "report_pearson_and_spearman" if regression else "report_acc_and_f1"
    names = (PLAIN, "lr_drop_sentence_prediction")
    plain, ours = (make_sentence_criterion(n, task, **{report: True})(model, sample) for n in names)
    assert torch.equal(ours[0], plain[0]) and ours[2] == plain[2] and len(ours[2]["pred"]) == 4
    assert batch_sizes == [4, 4]


def test_accuracy_is_the_mean_of_the_passes() -> None:
    task, sample = make_sentence_task(), make_sentences()
    criterion = make_sentence_criterion(task=task)
    logits = torch.tensor([[9.0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 9, 0]] * 2)
    logits[4] = torch.tensor([0.0, 9, 0])  # pass 2 of sentence 1
    targets = torch.tensor([0, 1, 1, 1])
    assert criterion._classification(logits, targets).correct.item() == (3 + 2) / 2
    assert run(criterion, make_sentence_model(), sample)[1]["ncorrect"] * 2 % 1 == 0


def test_metrics_are_per_sentence_and_aggregated_over_workers() -> None:
    """Two workers by hand: 3 and 1 sentences; what fairseq divides by log 2 is, nothing else."""
    logs = [
        dict(loss=3.0, task_loss=2.0, hidden_loss=6.0, attention_loss=0.5, output_loss=1.0,
             ncorrect=1.5, ntokens=30, nsentences=3, sample_size=3),
        dict(loss=1.0, task_loss=1.0, hidden_loss=2.0, attention_loss=0.1, output_loss=3.0,
             ncorrect=1.0, ntokens=10, nsentences=1, sample_size=1),
    ]  # fmt: skip
    with metrics.aggregate() as aggregator:
        type(make_sentence_criterion()).reduce_metrics(logs)
    values = aggregator.get_smoothed_values()
    assert values["loss"] == round(4 / 4 / math.log(2), 3)
    assert values["task_loss"] == pytest.approx(3 / 4 / math.log(2))
    assert values["output_loss"] == pytest.approx(4 / 4 / math.log(2))
    assert values["hidden_loss"] == 2.0
    assert values["attention_loss"] == pytest.approx(0.15)
    assert values["accuracy"] == 62.5


@pytest.mark.parametrize("factor", ["mha_reg_scale_factor", "ffn_reg_scale_factor"])
def test_adaptive_pruning_adds_what_it_adds_to_the_plain_criterion(factor: str) -> None:
    options = {"dropout": 0.0, "attention_dropout": 0.0, factor: 0.01}
    plain, ours = step("lr_drop_roberta", False, options)
    assert_same(ours, plain, rtol=1e-4, atol=1e-5)
    name = factor.replace("scale_factor", "loss")
    torch.testing.assert_close(ours[1][name], plain[1][name].detach())


@both_models
@both_kinds
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near_to_float32(arch: str, regression: bool, dtype: Any) -> None:
    """Losses are float32 whatever the model is; terms and gradients miss by a few roundings."""
    task = make_sentence_task(regression)
    none = dict(dropout=0.0, attention_dropout=0.0, activation_fn="gelu")
    model = make_sentence_model(arch, task, **none).to(dtype).float()
    perturb_layers(model)
    sample = make_sentences(regression=regression, decoder_input="bart" in arch)
    criterion = make_sentence_criterion(task=task, **weights(ALPHA, BETA, GAMMA))
    expected = run(criterion, model, sample)
    actual = run(criterion, model.to(dtype), sample)
    rounding = torch.finfo(dtype).eps
    for name in ("loss", "task_loss", *TERMS):
        assert actual[1][name].dtype == torch.float32 and expected[1][name] > 1e-8
        # Differences of the passes: a rounding of the states is more than one of theirs.
        torch.testing.assert_close(actual[1][name], expected[1][name], rtol=32 * rounding, atol=0.0)
    errors = {n: actual[2][n].float() - gradient for n, gradient in expected[2].items()}
    norms = [sum(float(g.square().sum()) for g in gs.values()) for gs in (errors, expected[2])]
    assert norms[0] ** 0.5 < 8 * rounding * norms[1] ** 0.5


def test_another_architecture_is_refused_before_the_first_update() -> None:
    model, sample = make_sentence_model("roberta"), make_sentences()
    with pytest.raises(ValueError, match="RobertaModel exposes no layer states.*lr_drop_roberta"):
        make_sentence_criterion()(model, sample)
    run(make_sentence_criterion(**weights(0, 0, 1)), model, sample)


def test_a_missing_head_is_refused() -> None:
    with pytest.raises(ValueError, match="no classification head 'other'.*it has: sentence_class"):
        make_sentence_criterion(classification_head_name="other")(
            make_sentence_model(), make_sentences()
        )


def test_a_single_class_is_refused() -> None:
    task = make_sentence_task(classes=1)
    with pytest.raises(ValueError, match="--num-classes 1 .*: add --regression-target"):
        make_sentence_criterion(task=task)(make_sentence_model(task=task), make_sentences())


def test_a_task_without_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="TranslationTask has no labels"):
        make_sentence_criterion(task=make_task())


def test_the_criterion_of_translation_is_refused() -> None:
    with pytest.raises(ValueError, match="SentencePredictionTask.*lr_drop_sentence_prediction"):
        make_criterion(task=make_sentence_task())
    with pytest.raises(ValueError, match="LRDropRoberta has no decoder"):
        make_criterion()(make_sentence_model(), make_sample())


def test_bad_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="--lr-drop-output-weight is -1"):
        make_sentence_criterion(lr_drop_output_weight=-1.0)


def test_dropout_zero_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    model = make_sentence_model(dropout=0.0, attention_dropout=0.0)
    with caplog.at_level(logging.WARNING, "lrdrop_fairseq"):
        make_sentence_criterion()(model, make_sentences())
    assert "nothing to regularize" in caplog.text


@pytest.mark.parametrize("name", [PLAIN, "lr_drop_sentence_prediction"])
def test_workers_do_not_add_up_lists_of_predictions(name: str) -> None:
    """fairseq asks before it reduces the logs of several processes."""
    criterion = make_sentence_criterion(name, report_mcc=True)
    summed = criterion.task.logging_outputs_can_be_summed
    assert summed(criterion.train()) and not summed(criterion.eval())
    assert summed(make_sentence_criterion(name).eval())
