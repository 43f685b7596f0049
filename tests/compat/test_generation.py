"""The repairs of lrdrop_fairseq.compat.generation: faults are there without, gone with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import options, search, utils
from fairseq.sequence_generator import SequenceGenerator

from tests import toy
from tests.compat.common import without

# The second target word comes from the first source word.
ALIGNMENT = [(2, 0), (0, 1), (1, 2)]


def test_replace_unk_needs_no_file(tmp_path: Path) -> None:
    parser = options.get_generation_parser()
    alone = options.parse_args_and_arch(parser, ["data", "--replace-unk"]).replace_unk
    assert utils.load_align_dict(alone) == {}
    with pytest.raises(FileNotFoundError):
        without(utils.load_align_dict)(alone)

    words = tmp_path / "words"
    words.write_text("Hund dog\n")
    assert utils.load_align_dict(str(words)) == {"Hund": "dog"}
    assert utils.load_align_dict(None) is None


@pytest.mark.parametrize(("words", "put"), [({}, "Hund"), ({"Hund": "dog"}, "dog")])
def test_an_unknown_word_becomes_its_source(words: dict[str, str], put: str) -> None:
    call = ("the <unk> barks", "Hund bellt der", ALIGNMENT, words, "<unk>")
    assert utils.replace_unk(*call) == f"the {put} barks"
    with pytest.raises(TypeError):
        without(utils.replace_unk)(*call)


@pytest.mark.parametrize(
    ("alignment", "message"),
    [
        (torch.empty(0), "add --print-alignment"),
        ([["0.1", "0.2", "0.7"]] * 3, "hard, not soft"),
        ([["0.1", "0.9"]] * 3, "hard, not soft"),
        ([*ALIGNMENT, (2, 3)], "3 words, its alignment 4 tokens: leave out --post-process"),
    ],
)
def test_an_alignment_without_the_source_is_refused(alignment: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        utils.replace_unk("the <unk> barks", "Hund bellt der", alignment, {}, "<unk>")
    # Where there is nothing to replace it is not asked for.
    assert utils.replace_unk("the dog", "der Hund", alignment, {}, "<unk>") == "the dog"


def translations(numbers: list[int], strategy: Any = None) -> list[list[list[int]]]:
    """All four translations of three sentences with these numbers in the data set."""
    task, model = toy.make_task(), toy.make_model(dropout=0.0).eval()
    sample = toy.make_sample(((5, 4), (3, 7), (6, 1)))
    sample["id"] = torch.tensor(numbers)
    strategy = strategy or search.DiverseBeamSearch(task.target_dictionary, 2, 0.5)
    generator = SequenceGenerator(
        [model], task.target_dictionary, beam_size=4, max_len_b=8, search_strategy=strategy
    )
    return [
        [one["tokens"].tolist() for one in found] for found in generator.generate([model], sample)
    ]


def test_diverse_beams_of_any_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = translations([0, 1, 2])
    with monkeypatch.context() as fairseqs_own:
        step = search.DiverseBeamSearch.step
        fairseqs_own.setattr(search.DiverseBeamSearch, "step", without(step))
        assert translations([0, 1, 2]) == expected  # the one case that was right
        with pytest.raises(IndexError):
            translations([7, 8, 40])
        assert translations([2, 0, 1]) != expected
    assert (
        translations([7, 8, 40]) == translations([40, 7, 8]) == translations([2, 0, 1]) == expected
    )
    assert expected != translations([0, 1, 2], search.BeamSearch(toy.make_task().target_dictionary))
