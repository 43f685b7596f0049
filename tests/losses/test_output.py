from __future__ import annotations

import math

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss

from lrdrop_fairseq.losses.output import label_smoothed_nll, output_terms, symmetric_kl


def log_of(*distributions: list[float]) -> torch.Tensor:
    return torch.tensor(distributions, dtype=torch.float64).log()


def test_symmetric_kl_by_hand() -> None:
    """p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4).

    KL(p||q) = 1/2 log 2 + 1/4 log 1/2 + 0 = 1/4 log 2, and the same the other way round.
    """
    value = symmetric_kl(log_of([0.5, 0.25, 0.25]), log_of([0.25, 0.5, 0.25]))
    torch.testing.assert_close(value, torch.tensor([math.log(2) / 4], dtype=torch.float64))


def test_symmetric_kl_of_unequal_divergences_by_hand() -> None:
    """p = (1/2, 1/2), q = (1/4, 3/4): the mean of KL(p||q) = 0.14384 and KL(q||p) = 0.13081.

    KL(p||q) = 1/2 log 2 + 1/2 log 2/3; KL(q||p) = 1/4 log 1/2 + 3/4 log 3/2.
    """
    forward = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    backward = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    value = symmetric_kl(log_of([0.5, 0.5]), log_of([0.25, 0.75]))
    assert value.item() == pytest.approx((forward + backward) / 2, abs=1e-15)


def test_terms_by_hand() -> None:
    """One token with target 0, V = 3, epsilon 0.2, so epsilon' = 0.1; gamma 2.

    p = (1/2, 1/4, 1/4): nll log 2, sum of all -log p = log 2 + 2 log 4 = 5 log 2;
        smoothed 0.7 log 2 + 0.1 * 5 log 2 = 1.2 log 2.
    q = (1/4, 1/2, 1/4): nll 2 log 2, smoothed 1.4 log 2 + 0.5 log 2 = 1.9 log 2.
    Objective: (1.2 + 1.9) / 2 log 2 + 2 * log 2 / 4 = 2.05 log 2.
    """
    log_probs = log_of([0.5, 0.25, 0.25], [0.25, 0.5, 0.25])[None]
    terms = output_terms(
        log_probs, torch.tensor([0]), label_smoothing=0.2, kl_weight=2.0, count_correct=True
    )
    log2 = math.log(2)
    assert terms.objective.item() == pytest.approx(2.05 * log2, abs=1e-15)
    assert terms.nll.item() == pytest.approx(1.5 * log2, abs=1e-15)
    assert terms.symmetric_kl.item() == pytest.approx(log2 / 4, abs=1e-15)
    assert terms.correct.item() == 0.5


def test_terms_of_one_pass_by_hand() -> None:
    """The pass p of the test above: nothing is halved, and there is nothing to diverge from."""
    terms = output_terms(
        log_of([0.5, 0.25, 0.25])[None],
        torch.tensor([0]),
        label_smoothing=0.2,
        kl_weight=0.0,
        count_correct=True,
    )
    assert terms.objective.item() == pytest.approx(1.2 * math.log(2), abs=1e-15)
    assert terms.nll.item() == pytest.approx(math.log(2), abs=1e-15)
    assert terms.symmetric_kl.item() == 0.0 and terms.correct.item() == 1.0


def test_label_smoothing_is_fairseqs() -> None:
    generator = torch.Generator().manual_seed(0)
    log_probs = torch.randn(7, 2, 11, generator=generator, dtype=torch.float64).log_softmax(-1)
    target = torch.randint(11, (7,), generator=generator)
    ours = label_smoothed_nll(log_probs, target, 0.1)
    for i in range(2):
        theirs = label_smoothed_nll_loss(log_probs[:, i], target, 0.1, reduce=False)
        for mine, expected in zip(ours, theirs):
            torch.testing.assert_close(mine[:, i], expected.squeeze(-1))


def test_epsilon_zero_is_plain_cross_entropy() -> None:
    log_probs = log_of([0.5, 0.25, 0.25], [0.25, 0.5, 0.25])[None]
    smoothed, nll = label_smoothed_nll(log_probs, torch.tensor([1]), 0.0)
    assert torch.equal(smoothed, nll)


def test_swapping_the_passes_changes_nothing() -> None:
    log_probs = torch.randn(5, 2, 7, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    target = torch.arange(5)
    one = output_terms(log_probs, target, 0.1, 2.0)
    other = output_terms(log_probs.flip(1), target, 0.1, 2.0)
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_a_word_that_is_left_out_in_both_passes_changes_nothing(label_smoothing: float) -> None:
    """Its logit is minus infinity. Label smoothing then has no finite loss, in fairseq neither."""
    logits = torch.randn(4, 2, 5, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 4, 2, 1])
    bare = output_terms(logits.log_softmax(-1), target, 0.0, 2.0, count_correct=True)
    wide = torch.nn.functional.pad(logits, (0, 1), value=-math.inf)
    terms = output_terms(wide.log_softmax(-1), target, label_smoothing, 2.0, count_correct=True)
    if label_smoothing:
        assert terms.objective == math.inf
        terms = terms._replace(objective=bare.objective)
    else:
        actual, expected = (torch.autograd.grad(x.objective, logits)[0] for x in (terms, bare))
        torch.testing.assert_close(actual, expected)
    for actual, expected in zip(terms, bare):
        torch.testing.assert_close(actual, expected)
