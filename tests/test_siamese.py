from __future__ import annotations

from typing import Any

import pytest
import torch

from lrdrop_fairseq.siamese import decoder_input, duplicate, halves
from tests.toy import make_sample


def test_duplicate_puts_the_second_pass_below_the_first() -> None:
    sample = make_sample()
    sample["net_input"]["flag"] = True
    doubled = duplicate(sample)
    assert doubled is not sample and doubled["net_input"] is not sample["net_input"]
    assert doubled["target"] is sample["target"] and doubled["net_input"]["flag"] is True
    for name in ("src_tokens", "src_lengths", "prev_output_tokens"):
        first, second = halves(doubled["net_input"][name])
        assert torch.equal(first, sample["net_input"][name])
        assert torch.equal(second, sample["net_input"][name])


@pytest.mark.parametrize("value", [torch.tensor(1), torch.zeros(2, 3), [torch.zeros(3)], {}])
def test_what_cannot_be_duplicated_is_refused(value: Any) -> None:
    sample = make_sample()
    sample["net_input"]["odd_one"] = value
    with pytest.raises(ValueError, match=r"cannot duplicate net_input\['odd_one'\]"):
        duplicate(sample)


def test_halves() -> None:
    first, second = halves(torch.arange(8).view(2, 4), dim=1)
    assert first.tolist() == [[0, 1], [4, 5]] and second.tolist() == [[2, 3], [6, 7]]
    with pytest.raises(ValueError, match="length 3"):
        halves(torch.zeros(3))


def test_the_decoders_input_is_found_beside_a_source_of_any_name() -> None:
    tokens = torch.zeros(2, 3)
    assert decoder_input({"source": torch.zeros(2, 9, 4), "prev_output_tokens": tokens}) is tokens
    assert decoder_input({"src_tokens": tokens}) is tokens
