"""When the terms act: --lr-drop-start and --lr-drop-ramp, for translation and for sentences."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.tasks.translation import TranslationTask

from lrdrop_fairseq import output_layer
from lrdrop_fairseq.criterions.label_smoothed_cross_entropy import (
    LRDropLabelSmoothedCrossEntropyConfig,
)
from lrdrop_fairseq.criterions.schedule import Schedule
from lrdrop_fairseq.criterions.sentence_prediction import LRDropSentencePredictionConfig
from tests.toy import (
    assert_same,
    make_criterion,
    make_model,
    make_sample,
    make_task,
    make_trainer,
    run,
)
from tests.toy_sentences import (
    make_sentence_criterion,
    make_sentence_model,
    make_sentence_task,
    make_sentences,
)

NEVER = 10**9


def test_strength_by_hand() -> None:
    schedule = Schedule(start=10, ramp=4)
    expected = {0: 0.0, 9: 0.0, 10: 0.25, 11: 0.5, 12: 0.75, 13: 1.0, 14: 1.0, 10**6: 1.0}
    assert {update: schedule.strength(update) for update in expected} == expected
    assert [Schedule(start=3).strength(update) for update in (2, 3, 4)] == [0.0, 1.0, 1.0]
    assert [Schedule(ramp=2).strength(update) for update in (0, 1, 2)] == [0.5, 1.0, 1.0]
    assert Schedule().constant and not Schedule(1).constant and not Schedule(0, 1).constant


def test_parts_of_the_training_by_hand() -> None:
    """2/3 and 1/10 of 6,000 updates; 1 is an update, and not the whole training."""
    assert Schedule.of_options(2 / 3, 0.1, 6000) == Schedule(4000, 600)
    assert Schedule.of_options(1, 500, 6000) == Schedule(1, 500)
    assert Schedule.of_options(4000, 0, 0) == Schedule(4000, 0)
    assert Schedule.of_options(0.001, 0.001, 400) == Schedule(1, 1)  # a part is never nothing


@pytest.mark.parametrize("name", ["start", "ramp"])
@pytest.mark.parametrize("value", [-1, -0.5, 1.5, float("nan"), float("inf")])
def test_a_bad_number_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"--lr-drop-{name} is {value}: it must be a number"):
        make_criterion(**{f"lr_drop_{name}": value})


def test_a_part_of_an_unlimited_training_is_refused() -> None:
    with pytest.raises(ValueError, match="--lr-drop-start 0.5 is a part of --max-update, which"):
        make_trainer("--lr-drop-start=0.5")


def test_by_default_the_terms_act_in_the_last_third() -> None:
    """Without any flag of ours; and a training without limit has to say when."""

    def criterion(*limit: str) -> Any:
        flags = ["no-data", "--arch=lr_drop_transformer", *limit]
        flags += ["--criterion=lr_drop_label_smoothed_cross_entropy"]
        args = options.parse_args_and_arch(options.get_training_parser(), flags)
        return make_task().build_criterion(convert_namespace_to_omegaconf(args).criterion)

    built = criterion("--max-update=100")
    assert built.schedule == Schedule(67, 0)
    assert (built.hidden_weight, built.attention_weight, built.output_weight) == (0.1, 1.0, 1.0)
    with pytest.raises(ValueError, match="--lr-drop-start 0.67 is a part of --max-update, which"):
        criterion()


def test_a_part_is_of_the_trainings_own_limit() -> None:
    trainer = make_trainer("--lr-drop-start=0.5", "--lr-drop-ramp=0.25", "--max-update=8")
    assert trainer.criterion.schedule == Schedule(4, 2)


def at(update: int, criterion: Any) -> Any:
    """The criterion as it is when the trainer has told its task the number of updates."""
    if criterion.siamese:  # else there is nothing that a number could change
        criterion._counter.updates = update
    return criterion


@pytest.mark.parametrize("arch", ["lr_drop_transformer", "transformer"])
@pytest.mark.parametrize("ignored", [0, 2])
@pytest.mark.parametrize("sentence_avg", [False, True])
@pytest.mark.parametrize("output_weight", [0.0, 2.5])
def test_before_the_start_the_step_is_plain(
    arch: str, ignored: int, sentence_avg: bool, output_weight: float
) -> None:
    """Loss, every gradient and every logged number; in double, but fairseq rounds to float32."""
    model = make_model(arch, dropout=0.3, attention_dropout=0.1).double()
    options = dict(ignore_prefix_size=ignored, sentence_avg=sentence_avg, report_accuracy=True)
    weights = {"lr_drop_output_weight": output_weight}
    if arch == "transformer":
        weights |= {"lr_drop_hidden_weight": 0.0, "lr_drop_attention_weight": 0.0}
    plain = run(make_criterion("label_smoothed_cross_entropy", **options), model, make_sample())
    ours = run(at(0, make_criterion(**options, **weights, lr_drop_start=1)), model, make_sample())
    assert_same(ours, plain, rtol=1e-5, atol=1e-6)
    assert ours[1].keys() == plain[1].keys()
    for name, expected in plain[1].items():
        assert math.isclose(ours[1][name], expected, rel_tol=1e-5), name


def test_before_the_start_a_model_that_cannot_be_chunked_takes_fairseqs_own_pass() -> None:
    model = make_model("transformer", dropout=0.3).double()
    model.decoder.output_projection.register_forward_hook(lambda *args: None)
    assert output_layer.output_projection(model) is None
    off = dict(lr_drop_hidden_weight=0.0, lr_drop_attention_weight=0.0)
    expected = run(make_criterion("label_smoothed_cross_entropy"), model, make_sample())
    actual = run(at(0, make_criterion(**off, lr_drop_start=1)), model, make_sample())
    assert_same(actual, expected, rtol=0.0, atol=0.0)


def test_before_the_start_an_adaptive_softmax_has_fairseqs_loss_and_a_gradient() -> None:
    model = make_model("transformer", dropout=0.3, adaptive_softmax_cutoff="10,20").double()
    assert output_layer.output_projection(model) is None
    off = dict(lr_drop_hidden_weight=0.0, lr_drop_attention_weight=0.0)
    # fairseq's criterion has no gradient through an adaptive softmax: the two can only agree.
    with torch.no_grad():
        torch.manual_seed(3)
        expected = make_criterion("label_smoothed_cross_entropy")(model, make_sample())
        torch.manual_seed(3)
        actual = at(0, make_criterion(**off, lr_drop_start=1))(model, make_sample())
    # Both sum in double: in which order depends on the processor's instructions.
    torch.testing.assert_close(actual[0], expected[0], rtol=1e-14, atol=0.0)
    gradients = run(at(0, make_criterion(**off, lr_drop_start=1)), model, make_sample())[2]
    assert gradients["decoder.adaptive_softmax.tail.1.2.weight"].any()


@pytest.mark.parametrize("update, strength", [(5, 1 / 3), (6, 2 / 3), (7, 1.0), (100, 1.0)])
def test_in_the_ramp_all_weights_are_scaled(update: int, strength: float) -> None:
    model = make_model(dropout=0.3).double()
    weights = dict(hidden=0.7, attention=30.0, output=2.0)

    def criterion(factor: float, **schedule: int) -> Any:
        scaled = {f"lr_drop_{name}_weight": factor * weight for name, weight in weights.items()}
        return make_criterion(**scaled, **schedule)

    expected = run(criterion(strength), model, make_sample())
    actual = run(at(update, criterion(1.0, lr_drop_start=5, lr_drop_ramp=3)), model, make_sample())
    assert_same(actual, expected, rtol=1e-12, atol=1e-12)
    # The terms are logged unweighted.
    torch.testing.assert_close(actual[1]["output_loss"], expected[1]["output_loss"])
    assert actual[1].keys() == expected[1].keys()


def test_a_model_that_cannot_be_trained_is_refused_before_the_start() -> None:
    criterion = at(0, make_criterion(lr_drop_start=NEVER))
    with pytest.raises(ValueError, match="exposes no layer states"):
        criterion(make_model("transformer"), make_sample())


def test_without_a_trainer_the_number_of_updates_is_not_guessed() -> None:
    with pytest.raises(ValueError, match="need the number of updates"):
        make_criterion(lr_drop_start=3)(make_model(dropout=0.1), make_sample())


def test_validation_is_plain_and_needs_no_number() -> None:
    model = make_model(dropout=0.3).eval()
    plain = make_criterion("label_smoothed_cross_entropy")(model, make_sample())[0]
    torch.testing.assert_close(make_criterion(lr_drop_start=3)(model, make_sample())[0], plain)


@pytest.mark.parametrize("update_freq", [1, 2])
def test_the_trainers_count_decides(update_freq: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first update with terms is the one after two finished ones."""
    trainer = make_trainer("--lr-drop-start=2", "--dropout=0.3")
    taken = []

    def recorded(step: str, original: Any) -> Any:
        return lambda *args: (taken.append(step), original(*args))[1]

    for step in ("single_forward", "siamese_forward"):
        original = getattr(trainer.criterion, step)
        monkeypatch.setattr(trainer.criterion, step, recorded(step, original))
    for _ in range(4):
        trainer.train_step([make_sample(seed=i) for i in range(update_freq)])
    assert taken == 2 * update_freq * ["single_forward"] + 2 * update_freq * ["siamese_forward"]


def test_one_trainer_equals_a_plain_one_that_another_continues() -> None:
    """Two updates without the terms and one with them, whichever way they are told to start."""
    whole = make_trainer("--lr-drop-start=2", "--dropout=0.3")
    for i in range(3):
        whole.train_step([make_sample(seed=i)])
    begun = make_trainer("--lr-drop-start=2", "--dropout=0.3", "--lr-drop-output-weight=9")
    for i in range(2):
        begun.train_step([make_sample(seed=i)])
    other = make_trainer("--dropout=0.3")
    other.model.load_state_dict(begun.model.state_dict())
    other.optimizer.load_state_dict(begun.optimizer.state_dict())
    other.set_num_updates(2)
    other.train_step([make_sample(seed=2)])
    for name, parameter in whole.model.named_parameters():
        assert torch.equal(parameter, dict(other.model.named_parameters())[name]), name


def test_sentences_have_the_same_weights_and_no_start() -> None:
    """An encoder that is pretrained has converged before its fine-tuning begins."""
    sentences, translation = (
        {f.name: f.default for f in fields(config) if f.name.startswith("lr_drop_")}
        for config in (LRDropSentencePredictionConfig, LRDropLabelSmoothedCrossEntropyConfig)
    )
    assert sentences["lr_drop_start"] == 0 and translation.pop("lr_drop_start") == 0.67
    weights = dict.fromkeys(("lr_drop_attention_weight", "lr_drop_output_weight"), 1.0)
    weights |= {"lr_drop_hidden_weight": 0.1, "lr_drop_ramp": 0.0}
    assert translation == weights and sentences == {**weights, "lr_drop_start": 0}


@pytest.mark.parametrize("regression", [False, True])
def test_sentences(regression: bool) -> None:
    """Before the start fairseq's step to the last bit, in the ramp the terms scaled."""
    task = make_sentence_task(regression)
    model = make_sentence_model(task=task, dropout=0.3)
    sample = make_sentences(regression=regression)

    def train(name: str = "lr_drop_sentence_prediction", **options: Any) -> Any:
        criterion = make_sentence_criterion(name, make_sentence_task(regression), **options)
        return run(at(1, criterion) if "lr_drop_start" in options else criterion, model, sample)

    plain = train("sentence_prediction")
    assert_same(train(lr_drop_start=2), plain, rtol=0.0, atol=0.0)
    half = train(
        lr_drop_hidden_weight=0.5, lr_drop_attention_weight=0.5, lr_drop_output_weight=0.25
    )
    assert_same(train(lr_drop_start=1, lr_drop_ramp=2), half, rtol=1e-6, atol=1e-7)


class PassesItsArgumentsOn(TranslationTask):
    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        return super().train_step(*args, **kwargs)


@pytest.mark.parametrize("by_keyword", [True, False])
def test_the_number_of_updates_is_found_however_a_task_takes_it(by_keyword: bool) -> None:
    toy = make_task()
    task = PassesItsArgumentsOn(toy.cfg, toy.src_dict, toy.tgt_dict)
    criterion = make_criterion(task=task, lr_drop_start=3)
    model, optimizer = make_model(dropout=0.1), MagicMock()
    for update, terms in ((2, False), (3, True)):
        arguments = [make_sample(), model, criterion, optimizer]
        if by_keyword:
            names = ("sample", "model", "criterion", "optimizer")
            _, _, log = task.train_step(**dict(zip(names, arguments)), update_num=update)
        else:
            _, _, log = task.train_step(*arguments, update)
        assert ("output_loss" in log) == terms


def test_without_weights_the_step_does_not_change_where_terms_would_start() -> None:
    """Else time and memory of an update would: they are as before a start, throughout."""
    trainer = make_trainer(
        "--lr-drop-start=1", *(f"--lr-drop-{x}-weight=0" for x in ("hidden", "attention", "output"))
    )
    taken = []
    original = trainer.criterion.single_forward
    trainer.criterion.single_forward = lambda *args: (taken.append(1), original(*args))[1]
    for _ in range(3):
        trainer.train_step([make_sample()])
    assert len(taken) == 3
