"""The dropout gap: its distances by hand, what it finds in small models, and its command line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from lrdrop_fairseq.dropout_gap import __main__ as command
from lrdrop_fairseq.dropout_gap.distances import (
    attention_distance,
    divergence_bits,
    hidden_distance,
)
from lrdrop_fairseq.dropout_gap.measure import Gap, Place, measure, places_of
from lrdrop_fairseq.dropout_gap.plot import plot
from tests import toy_run as toy
from tests.toy import make_model, make_sample, make_task
from tests.toy_sentences import HEAD, make_sentence_model, make_sentence_task, make_sentences

PAD = make_task().source_dictionary.pad()


def test_distances_by_hand() -> None:
    """(3, 4) and (4, 3): 2 / 25. Opposite: 4. Equal, and both 0: 0."""
    first = torch.tensor([[[3.0, 4.0]], [[1.0, 0.0]], [[0.0, 0.0]]])  # T 3, B 1, C 2
    second = torch.tensor([[[4.0, 3.0]], [[-1.0, 0.0]], [[0.0, 0.0]]])
    expected = torch.tensor([[2 / 25, 4.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(hidden_distance(first, second), expected)
    # One head looks elsewhere (distance 2), the other at the same key: mean 1.
    maps = (
        torch.tensor([[[[1.0, 0.0]], [[0.5, 0.5]]]]),
        torch.tensor([[[[0.0, 1.0]], [[0.5, 0.5]]]]),
    )
    torch.testing.assert_close(attention_distance(*maps), torch.tensor([[1.0]]).double())
    # 1/2 log2(2) + 1/2 log2(2/3) = 1 - log2(3) / 2
    log_p, log_q = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.25, 0.75]).log()
    assert divergence_bits(log_p, log_q).item() == pytest.approx(1 - math.log2(3) / 2, abs=1e-7)


def gaps_of(model: Any, samples: list[Any], **options: Any) -> dict[Place, Gap]:
    return {gap.place: gap for gap in measure(model, samples, PAD, **options)}


@pytest.mark.parametrize("arch", ["lr_drop_transformer", "transformer", "lr_drop_bart"])
def test_every_place_of_a_sequence_model(arch: str) -> None:
    model = make_model(arch, dropout=0.3, attention_dropout=0.1)
    found = gaps_of(model, [make_sample(), make_sample(seed=1)])
    counts: dict[tuple[str, str], int] = {}
    for place in found:
        counts[place.kind, place.part] = counts.get((place.kind, place.part), 0) + 1
    assert counts == {
        ("hidden", "encoder"): 2, ("hidden", "decoder"): 3, ("attention", "encoder self"): 2,
        ("attention", "decoder self"): 3, ("attention", "decoder cross"): 3,
        ("output", "output"): 1,
    }  # fmt: skip
    for gap in found.values():
        assert 0 < gap.to_none and 0 < gap.to_other, gap
    # Two independent noises differ by more than one of them.
    assert sum(g.to_other for g in found.values()) > sum(g.to_none for g in found.values())
    assert found == gaps_of(model, [make_sample(), make_sample(seed=1)])


def test_without_dropout_there_is_no_gap() -> None:
    found = gaps_of(make_model(dropout=0.0, attention_dropout=0.0), [make_sample()])
    assert all(gap.to_none == gap.to_other == 0 for gap in found.values())


def test_padding_does_not_count_and_the_model_stays_as_it_was() -> None:
    """The noise is another one, but the means over many draws are those of the same tokens."""
    model = make_model(dropout=0.2, encoder_layerdrop=0.5)
    rates = [module.p for module in model.modules() if hasattr(module, "p")]
    sample, padded = make_sample(), make_sample(extra_padding=40)
    one, other = gaps_of(model, [sample] * 60), gaps_of(model, [padded] * 60)
    for place, gap in one.items():
        assert other[place].to_other == pytest.approx(gap.to_other, rel=0.25), place
    assert rates == [module.p for module in model.modules() if hasattr(module, "p")]


@pytest.mark.parametrize("regression", [False, True])
def test_sentence_models(regression: bool) -> None:
    task = make_sentence_task(regression)
    model = make_sentence_model(task=task, dropout=0.2)
    found = gaps_of(model, [make_sentences(regression=regression)], head=HEAD)
    assert [place.part for place in found] == 2 * ["encoder"] + 2 * ["encoder self"] + ["output"]
    assert all(gap.to_other > 0 for gap in found.values())


def test_quantization_noise_is_not_measured_and_leaves_the_weights() -> None:
    model = make_model(dropout=0.2, quant_noise_pq=0.5, quant_noise_pq_block_size=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = gaps_of(model, [make_sample(), make_sample(seed=1)])
    assert all(0 < gap.to_none for gap in found.values())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("arch", ["lr_drop_transformer", "transformer"])
def test_a_model_with_activation_checkpointing(arch: str) -> None:
    """A stock one that offloads them, too: there are no gradients here."""
    offload = arch == "transformer"
    model = make_model(arch, dropout=0.2, checkpoint_activations=True, offload_activations=offload)
    expected = gaps_of(make_model(arch, dropout=0.2), [make_sample()])
    assert gaps_of(model, [make_sample()]) == expected


def test_no_layers_and_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="no layer of this model can be seen"):
        measure(make_model(), [], PAD)


def test_command_line(
    toy_run: toy.ToyRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "other" / "checkpoint_last.pt"
    copy.parent.mkdir()
    copy.write_bytes(toy_run.checkpoint.read_bytes())
    picture = tmp_path / "gap.png"
    arguments = [str(toy_run.data), str(toy_run.checkpoint), str(copy), "--plot", str(picture)]
    assert command.main([*arguments, "--subset", "test"]) == 0
    printed = capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    (output,) = (line for line in printed.splitlines() if line.startswith("| output"))
    none, other, *again = (float(cell) for cell in output.strip("|").split("|")[1:])
    assert [none, other] == again and 0 < none < other
    assert "other: none" in printed and "| hidden: decoder 1" in printed


def test_what_cannot_be_measured_is_said(
    toy_run: toy.ToyRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(*arguments: object) -> str:
        assert command.main(list(map(str, arguments))) == 1
        return capsys.readouterr().err

    assert "no such checkpoint" in error(toy_run.data, tmp_path / "none.pt")
    assert "no such data directory" in error(tmp_path / "none", toy_run.checkpoint)
    missing = error(toy_run.data, toy_run.checkpoint, "--subset", "test7")
    assert "on subset test7" in missing and "Dataset not found: test7" in missing
    assert "dictionary" not in missing
    (tmp_path / "data").mkdir()
    for path in toy_run.data.iterdir():
        if path.name.startswith(("valid", "dict")):
            (tmp_path / "data" / path.name).write_bytes(path.read_bytes())
    for language in ("de", "en"):
        with (tmp_path / "data" / f"dict.{language}.txt").open("a") as words:
            words.write("another 1\n")
    other = error(tmp_path / "data", toy_run.checkpoint)
    assert "trained with another dictionary" in other and "was it trained on" not in other
    assert "nowhere: cannot be imported" in error(
        toy_run.data, toy_run.checkpoint, "--user-dir", tmp_path / "nowhere"
    )


def test_names_are_short_and_tell_checkpoints_apart() -> None:
    paths = [Path("/a/plain/checkpoint_best.pt"), Path("/a/lrdrop/checkpoint_best.pt")]
    assert command.short_names(paths) == ["plain", "lrdrop"]
    assert command.short_names(paths[:1]) == ["checkpoint_best"]
    assert command.short_names([Path("/run.pt"), Path("/run/x.pt")]) == ["run", "run/x"]
    assert command.short_names([Path("/a/b.pt"), Path("/a/c.pt")]) == ["b", "c"]
    assert command.short_names([Path("/a/m.v1"), Path("/a/m.v2.pt")]) == ["m.v1", "m.v2"]
    same = [Path("/a/m"), Path("/a/m.pt")]
    assert command.short_names(same) == ["/a/m", "/a/m.pt"]


def gaps_with(layers: int) -> list[Gap]:
    """A model with as many layers on each side; the distance of a layer is its number."""
    places = [
        Place("hidden", part, i + 1) for part in ("encoder", "decoder") for i in range(layers)
    ]
    places.append(Place("output", "output", 0))
    return [Gap(place, place.layer / 2, float(place.layer)) for place in places]


def test_models_of_different_depth_are_compared_layer_by_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [gaps_with(1), gaps_with(2)]
    assert places_of(both) == [gap.place for gap in both[1]]
    shown: list[Any] = []
    monkeypatch.setattr("lrdrop_fairseq.dropout_gap.plot.plt.close", shown.append)
    plot(["shallow", "deep"], both, tmp_path / "gap.png")
    assert [path.name for path in tmp_path.iterdir()] == ["gap.png"]
    hidden, output = shown[0].axes
    names = [label.get_text() for label in hidden.get_xticklabels()]
    assert names == ["encoder 1", "encoder 2", "decoder 1", "decoder 2"]
    # Encoder and decoder, to another pass and to the pass without, of each model.
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in hidden.get_lines()]
    assert lines[:4] == [([0], [1.0]), ([0], [0.5]), ([2], [1.0]), ([2], [0.5])]
    assert lines[4:6] == [([0, 1], [1.0, 2.0]), ([0, 1], [0.5, 1.0])]
    assert len(output.get_lines()) == 4
    assert hidden.get_legend_handles_labels()[1] == ["shallow", "deep"]


def test_the_legend_of_long_names_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"a/rather/long/way/to/the/checkpoint/number{number}" for number in range(5)]
    shown: list[Any] = []
    monkeypatch.setattr("lrdrop_fairseq.dropout_gap.plot.plt.close", shown.append)
    plot(names, [gaps_with(2)] * 5, tmp_path / "gap.png")
    (legend,) = shown[0].legends
    box = legend.get_window_extent()
    assert [text.get_text() for text in legend.get_texts()] == names
    assert 0 <= box.x0 and box.x1 <= shown[0].bbox.width
