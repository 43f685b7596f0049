"""Averaging of checkpoints: values by hand, what is kept, what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lrdrop_fairseq.average_checkpoints import main
from lrdrop_fairseq.checkpoints.average import average_checkpoints, parts
from lrdrop_fairseq.checkpoints.files import save
from lrdrop_fairseq.checkpoints.newest import last_checkpoints
from lrdrop_fairseq.checkpoints.running_average import AveragingError, RunningAverage


def write_checkpoint(path: Path, updates: int, model: dict[str, torch.Tensor]) -> Path:
    """A file with the entries that fairseq's trainer writes."""
    state: dict[str, Any] = {
        "args": None,
        "cfg": {"model": {"_name": "transformer"}, "common": {"seed": updates}},
        "model": model,
        "optimizer_history": [
            {"optimizer_name": "Adam", "lr_scheduler_state": {}, "num_updates": updates}
        ],
        "extra_state": {"train_iterator": {"epoch": updates}, "ema": {"w": torch.ones(1)}},
        "last_optimizer_state": {"state": torch.ones(7)},
    }
    torch.save(state, path)
    return path


def average(*states: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    running = RunningAverage()
    for number, state in enumerate(states):
        running.add(f"state {number}", state)
    return running.average(states[-1])


def test_values_by_hand_and_integers_of_the_newest() -> None:
    """(1 + 2 + 6) / 3 = 3 and (-1 + 0 + 4) / 3 = 1; the counter is the last one's."""
    result = average(
        {"w": torch.tensor([1.0, -1.0]), "counter": torch.tensor([10])},
        {"w": torch.tensor([2.0, 0.0]), "counter": torch.tensor([20])},
        {"w": torch.tensor([6.0, 4.0]), "counter": torch.tensor([60])},
    )
    assert result["w"].tolist() == [3.0, 1.0]
    assert result["counter"].tolist() == [60]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sums_are_exact_and_the_dtype_is_kept(dtype: torch.dtype) -> None:
    """1, then twice half an ulp of 1: summed in the dtype itself each half would be lost."""
    half = torch.finfo(dtype).eps / 2
    result = average(*({"w": torch.tensor([x], dtype=dtype)} for x in (3.0, 3 * half, 3 * half)))
    assert result["w"].dtype == dtype
    assert result["w"].item() == 1 + 2 * half


def test_inputs_are_not_changed() -> None:
    first, second = {"w": torch.ones(2)}, {"w": torch.zeros(2)}
    average(first, second)
    assert first["w"].tolist() == [1, 1] and second["w"].tolist() == [0, 0]


def test_tied_parameters_stay_tied_and_equal_ones_apart() -> None:
    table = torch.ones(3)
    states = [{"a": t, "b": t, "c": t.clone()} for t in (table, 3 * table)]
    result = average(*states)
    assert result["a"].data_ptr() == result["b"].data_ptr()
    assert result["a"].data_ptr() != result["c"].data_ptr()
    assert result["c"].tolist() == [2, 2, 2]


def test_parameters_tied_in_the_newest_only_keep_their_own_averages() -> None:
    table = torch.zeros(1)
    result = average({"a": torch.ones(1), "b": 3 * torch.ones(1)}, {"a": table, "b": table})
    assert (result["a"].item(), result["b"].item()) == (0.5, 1.5)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"v": torch.ones(2)}, "only one of them has"),
        ({"w": torch.ones(2), "v": torch.ones(2)}, "only one of them has v"),
        ({"w": torch.ones(3)}, r"parameter w .*\(3,\).*\(2,\)"),
        ({"w": torch.ones(2, dtype=torch.float64)}, "parameter w .*float64"),
        ({"w": torch.tensor([1.0, float("nan")])}, "state 1: parameter w .* not finite"),
        ({"w": torch.tensor([1.0, complex("nan")])}, "state 1: parameter w .* not finite"),
        ({}, "state 1 holds no parameters"),
        ({"w": {"a": torch.ones(2)}}, "state 1: w is a dict: only tensors can be averaged"),
    ],
)
def test_refuses_states_that_do_not_belong_together(
    second: dict[str, torch.Tensor], message: str
) -> None:
    with pytest.raises(AveragingError, match=message):
        average({"w": torch.ones(2)}, second)


def test_checkpoint_comes_from_the_newest_whatever_the_order(tmp_path: Path) -> None:
    old = write_checkpoint(tmp_path / "a.pt", 100, {"w": torch.tensor([1.0])})
    new = write_checkpoint(tmp_path / "b.pt", 200, {"w": torch.tensor([2.0])})
    result = average_checkpoints([new, old])
    assert result["model"]["w"].tolist() == [1.5]
    assert result["cfg"]["common"]["seed"] == 200
    assert result["extra_state"] == {"train_iterator": {"epoch": 200}}
    assert "last_optimizer_state" not in result
    expected = [
        {"path": str(old), "num_updates": 100},
        {"path": str(new), "num_updates": 200},
    ]
    assert result["averaged_from"] == expected
    save(result, tmp_path / "out" / "averaged.pt")
    assert parts(tmp_path / "out" / "averaged.pt") == expected
    assert parts(old) == expected[:1]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["averaged.pt"]


def test_refuses_missing_damaged_and_repeated_files(tmp_path: Path) -> None:
    good = write_checkpoint(tmp_path / "a.pt", 1, {"w": torch.ones(1)})
    (tmp_path / "bad.pt").write_bytes(b"no checkpoint")
    with pytest.raises(AveragingError, match="no such checkpoint"):
        average_checkpoints([good, tmp_path / "b.pt"])
    with pytest.raises(AveragingError, match="bad.pt: cannot be read"):
        average_checkpoints([good, tmp_path / "bad.pt"])
    with pytest.raises(AveragingError, match="given twice"):
        average_checkpoints([good, good])
    with pytest.raises(AveragingError, match="no checkpoints"):
        average_checkpoints([])


def test_dictionaries_of_all_parts_are_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = []
    for number, words in enumerate([{"source": "a"}, {"source": "a"}, None, {"source": "b"}]):
        path = write_checkpoint(tmp_path / f"{number}.pt", number, {"w": torch.ones(1)})
        state = torch.load(path)
        state["extra_state"] |= {"dictionaries": words} if words else {}
        torch.save(state, path)
        paths.append(path)
    first, second, silent, other = paths
    assert average_checkpoints([first, second])["extra_state"]["dictionaries"] == {"source": "a"}
    assert caplog.messages == []
    assert average_checkpoints([first, silent])["model"]["w"].tolist() == [1]
    assert caplog.messages == [f"{silent} does not say which dictionary it was trained with"]
    for parts_of_two in ([first, other], [first, silent, other]):
        with pytest.raises(AveragingError, match="different dictionaries") as refused:
            average_checkpoints(parts_of_two)
        assert str(first) in str(refused.value) and str(other) in str(refused.value)


def changed(path: Path, **entries: Any) -> Path:
    """Another file like this one, with other entries."""
    other = path.with_name(f"{len(list(path.parent.iterdir()))}.pt")
    torch.save({**torch.load(path), **entries}, other)
    return other


def test_refuses_checkpoints_whose_model_is_not_known_or_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_checkpoint(tmp_path / "a.pt", 1, {"w": torch.ones(1)})
    with pytest.raises(AveragingError, match="holds no parameters"):
        average_checkpoints([changed(good, model={})])
    for cfg in (None, {"model": {}}):
        with pytest.raises(AveragingError, match="does not say what was trained"):
            average_checkpoints([changed(good, cfg=cfg)])
    lost = changed(good, cfg={"model": {"_name": "average_test_only_here"}})
    message = "'average_test_only_here' is unknown: pass the --user-dir"
    with pytest.raises(AveragingError, match=message):
        average_checkpoints([good, lost])
    heads = changed(good, cfg={"model": {"_name": "transformer", "encoder_attention_heads": 2}})
    other = changed(good, cfg={"model": {"_name": "transformer_iwslt_de_en"}})
    for path, key in ((heads, "encoder_attention_heads is None"), (other, "architecture is 'tr")):
        with pytest.raises(AveragingError, match=f"not checkpoints of one model: {key}"):
            average_checkpoints([good, path])

    own = tmp_path / "average_test_plugin"
    own.mkdir()
    (own / "__init__.py").write_text(
        "from fairseq.models import register_model\n"
        "from fairseq.models.transformer import TransformerModel\n"
        "register_model('average_test_only_here')(type('Own', (TransformerModel,), {}))\n"
    )
    command = ["--inputs", str(lost), "--output", str(tmp_path / "out.pt"), "--user-dir"]
    assert main([*command, str(tmp_path / "nowhere")]) == 1
    assert "nowhere: cannot be imported" in capsys.readouterr().err
    assert main([*command, str(own)]) == 0


def test_last_are_the_newest_epochs_by_number(tmp_path: Path) -> None:
    names = ["checkpoint9.pt", "checkpoint10.pt", "checkpoint11.pt", "checkpoint_12_5000.pt"]
    for name in [*names, "checkpoint_last.pt", "checkpoint_best.pt", "checkpoint12-shard0.pt"]:
        (tmp_path / name).touch()
    chosen = [path.name for path in last_checkpoints(tmp_path, 3)]
    assert chosen == ["checkpoint9.pt", "checkpoint10.pt", "checkpoint11.pt"]
    with pytest.raises(AveragingError, match="4 checkpoints were asked for, but there are 3 epoch"):
        last_checkpoints(tmp_path, 4)


def test_last_are_the_newest_updates_where_there_are_no_epochs(tmp_path: Path) -> None:
    for name in ["checkpoint_2_900.pt", "checkpoint_2_1000.pt", "checkpoint_1_500.pt"]:
        (tmp_path / name).touch()
    chosen = [path.name for path in last_checkpoints(tmp_path, 2)]
    assert chosen == ["checkpoint_2_900.pt", "checkpoint_2_1000.pt"]


def test_a_run_without_either_is_told_what_makes_them(tmp_path: Path) -> None:
    (tmp_path / "checkpoint_last.pt").touch()
    with pytest.raises(AveragingError, match="neither epoch .* without --no-epoch-checkpoints"):
        last_checkpoints(tmp_path, 1)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for epoch in (1, 2, 3):
        model = {"w": torch.full((2,), float(epoch))}
        write_checkpoint(tmp_path / f"checkpoint{epoch}.pt", 10 * epoch, model)
    output = tmp_path / "averaged.pt"
    arguments = ["--save-dir", str(tmp_path), "--output", str(output)]
    assert main([*arguments, "--last", "2"]) == 0
    printed = capsys.readouterr().out
    assert "checkpoint2.pt (20 updates)" in printed and "checkpoint1.pt" not in printed
    assert torch.load(output)["model"]["w"].tolist() == [2.5, 2.5]
    assert main([*arguments, "--last", "4"]) == 1
    assert "4 checkpoints were asked for" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(arguments)


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """A file may have no more than 4,096 bytes: what the system says of it, as of a full disk."""
    inputs = [
        str(write_checkpoint(tmp_path / f"{n}.pt", n, {"w": torch.ones(9000)})) for n in (1, 2)
    ]
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from lrdrop_fairseq.average_checkpoints import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    output = tmp_path / "average.pt"
    command = [sys.executable, "-c", script, "--inputs", *inputs, "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    said = f"average_checkpoints: error: {output} cannot be written: [Errno 27] File too large"
    assert done.stderr.splitlines()[-1] == said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.pt", "2.pt"]
