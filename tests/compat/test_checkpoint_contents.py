"""The repairs of lrdrop_fairseq.compat.checkpoint_contents and .refusals."""

from __future__ import annotations

import argparse
import copy
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fairseq.utils
import fairseq_cli.generate
import fairseq_cli.interactive
import fairseq_cli.train
import fairseq_cli.validate
import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.models.transformer import TransformerModel
from omegaconf import OmegaConf

from lrdrop_fairseq import average_checkpoints, export
from lrdrop_fairseq.compat.checkpoint_contents import calls_a_function, load
from lrdrop_fairseq.compat.refusals import Refused
from tests.toy import SIZES, make_trainer, write_data

Change = Callable[[dict[str, Any]], Any]
LANGUAGES = ("--task=translation", "--source-lang=de", "--target-lang=en")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set and a checkpoint as a training writes it."""
    folder = tmp_path_factory.mktemp("checkpoint")
    write_data(folder / "data", {name: [(4, 4)] * 3 for name in ("train", "valid", "test")})
    trainer = make_trainer(*LANGUAGES)
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(str(folder / "checkpoint.pt"), {"train_iterator": {"epoch": 1}})
    return folder


@pytest.fixture
def changed(folder: Path) -> Callable[[Change], Path]:
    """Writes another checkpoint: the one above, changed by a function; returns its file."""

    def write(change: Change) -> Path:
        state = torch.load(folder / "checkpoint.pt")
        torch.save(change(state) or state, folder / "changed.pt")
        return folder / "changed.pt"

    return write


# --- what cannot be a checkpoint -----------------------------------------------------------

DAMAGES: dict[str, tuple[Change, str]] = {
    "list": (lambda state: [state], "holds a list"),
    "no model": (lambda state: state.pop("model") and None, "its model is no dictionary"),
    "model": (lambda state: state.update(model=[1]), "its model is no dictionary of tensors"),
    "values": (lambda state: state["model"].update(a=1), "no dictionary of tensors: 'a' is a int"),
    "history": (lambda state: state.update(optimizer_history=[]), "its optimizer_history is no"),
    "no history": (lambda state: state.pop("optimizer_history") and None, "no optimizer_history"),
    "extra": (lambda state: state.update(extra_state=3), "its extra_state is no dictionary"),
    "options": (lambda state: state.update(cfg="x"), "its options are a str"),
}


@pytest.mark.parametrize(("change", "message"), DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_checkpoint_is_refused(
    change: Change, message: str, changed: Callable[[Change], Path]
) -> None:
    path = changed(change)
    with pytest.raises(Refused, match=f"changed.pt: .*{message}"):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "the file is empty"), (b"text", ".+"), (b"PK\3\4", ".*zip.*")]
)
def test_what_is_no_file_of_torch_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(Refused, match=rf"x.pt: cannot be read as a checkpoint \({reason}\); give"):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "x.pt"))


# --- what would act ------------------------------------------------------------------------

CALL = "${oc.env:HOME}"
CALLS: dict[str, Change] = {
    "tree": lambda state: state["cfg"]["task"].update(data=CALL),
    "name": lambda state: state["cfg"]["task"].update({CALL: 1}),
    "list": lambda state: state["cfg"]["optimization"].update(lr=[0.1, f"x{CALL}"]),
    "architecture": lambda state: setattr(state["cfg"]["model"], "encoder_embed_path", CALL),
    "omegaconf": lambda state: state.update(
        cfg=OmegaConf.create({**state["cfg"], "bpe": {"a": CALL}}, flags={"allow_objects": True})
    ),
    "old": lambda state: state.update(args=argparse.Namespace(arch="x", data=[CALL])),
    "exported": lambda state: state.update(args=_both(CALL)),
}


def _both(value: str) -> OrderedDict[str, Any]:
    options: OrderedDict[str, Any] = OrderedDict(arch="x")
    vars(options)["data"] = value
    return options


@pytest.mark.parametrize("change", CALLS.values(), ids=list(CALLS))
def test_omegaconf_calls_no_function(change: Change, changed: Callable[[Change], Path]) -> None:
    path = changed(change)
    with pytest.raises(Refused, match="changed.pt: its option .*oc.env:HOME.* by omegaconf"):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))
    with pytest.raises(export.ExportError, match="by omegaconf"):
        export.load(path)


@pytest.mark.parametrize("text", ["${f:}", "${ f:1}", "${a.${f:x}}", "${${f}:x}", "a${b}${f:${c}}"])
def test_calls_are_found(text: str) -> None:
    assert calls_a_function(text)


@pytest.mark.parametrize("text", ["", "$HOME", "${task.data}", "${a.${b}}/${c[0]}:d", "{a:b}"])
def test_values_of_other_options_are_none(text: str) -> None:
    assert not calls_a_function(text)


def test_no_file_is_written_that_the_options_name(
    folder: Path, changed: Callable[[Change], Path]
) -> None:
    kept = folder / "kept"
    kept.write_text("as it was")

    def name_a_file(state: dict[str, Any]) -> None:
        state["cfg"]["criterion"]["save_predictions"] = str(kept)
        state["cfg"]["task"]["post_save_script"] = "touch"
        # An early checkpoint refers to other options.
        state["cfg"]["task"]["data"] = "${checkpoint.save_dir}"

    path = str(changed(name_a_file))
    cfg = checkpoint_utils.load_checkpoint_to_cpu(path)["cfg"]
    assert cfg.criterion.save_predictions is cfg.task.post_save_script is None
    assert cfg.task.data == cfg.checkpoint.save_dir
    # What the command line says holds.
    given = checkpoint_utils.load_checkpoint_to_cpu(path, {"save_predictions": "here"})["cfg"]
    assert given.criterion.save_predictions == "here"
    assert torch.load(path)["cfg"]["criterion"]["save_predictions"] == str(kept)


# --- every entry ---------------------------------------------------------------------------


def _command(main: Callable[[], None], *arguments: object) -> None:
    sys.argv = ["fairseq", *map(str, arguments)]
    main()


def _train(folder: Path, path: Path, option: str) -> None:
    _command(
        fairseq_cli.train.cli_main, folder / "data", *LANGUAGES, "--cpu", "--num-workers=0",
        "--arch=lr_drop_transformer", "--criterion=lr_drop_label_smoothed_cross_entropy",
        *(f"--{name.replace('_', '-')}={size}" for name, size in SIZES.items()),
        "--optimizer=adam", "--lr=1e-3", "--max-tokens=100", "--max-update=1", "--no-save",
        "--disable-validation", "--lr-drop-start=0", f"--save-dir={path.parent}/new",
        f"{option}={path}",
    )  # fmt: skip


ENTRIES: dict[str, Callable[[Path, Path], Any]] = {
    "generate": lambda folder, path: _command(
        fairseq_cli.generate.cli_main, folder / "data", *LANGUAGES, "--path", path, "--cpu",
        "--num-workers=0",
    ),
    "interactive": lambda folder, path: _command(
        fairseq_cli.interactive.cli_main, folder / "data", *LANGUAGES, "--path", path, "--cpu"
    ),
    "validate": lambda folder, path: _command(
        fairseq_cli.validate.cli_main, folder / "data", *LANGUAGES, "--path", path, "--cpu",
        "--criterion=label_smoothed_cross_entropy", "--max-tokens=100", "--num-workers=0",
    ),
    "hub": lambda folder, path: TransformerModel.from_pretrained(
        str(path.parent), path.name, str(folder / "data")
    ),
    "restore": lambda folder, path: _train(folder, path, "--restore-file"),
    "fine-tune": lambda folder, path: _train(folder, path, "--finetune-from-model"),
    "average": lambda folder, path: average_checkpoints.main(
        ["--inputs", str(path), "--output", str(folder / "averaged.pt")]
    ),
    "export": lambda folder, path: export.main([str(path), str(folder / "out.pt"), "--force"]),
}  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=list(ENTRIES))
def test_no_entry_runs_what_a_checkpoint_holds(
    entry: Callable[[Path, Path], Any],
    folder: Path,
    changed: Callable[[Change], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Options that fairseq evaluates, a user-dir, a class to be made: none comes to anything."""
    marker = folder / "marker"
    (folder / "own_code").mkdir(exist_ok=True)
    (folder / "own_code" / "__init__.py").write_text(f"open({str(marker)!r}, 'w')\n")

    def act(state: dict[str, Any]) -> None:
        code = f"(open({str(marker)!r}, 'w'), None)[1]"
        state["cfg"]["model"].encoder_xformers_att_config = code
        state["cfg"]["model"].user_dir = str(folder / "own_code")
        state["cfg"]["common"]["user_dir"] = str(folder / "own_code")
        state["cfg"]["criterion"]["_target_"] = "os.system"

    path = changed(act)
    monkeypatch.setattr(sys, "argv", [])
    try:
        entry(folder, path)
        refused = ""
    except (Refused, SystemExit) as error:
        refused = str(error)
    assert not marker.exists() and "own_code" not in sys.modules
    # The others take the parameters, or the options as they are.
    if entry in [ENTRIES[name] for name in ("generate", "interactive", "validate", "hub")]:
        assert "changed.pt: an option is " in refused and "is not run" in refused
    else:
        assert refused == ""


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=list(ENTRIES))
def test_every_entry_refuses_an_empty_checkpoint_in_a_sentence(
    entry: Callable[[Path, Path], Any],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    (folder / "empty.pt").write_bytes(b"")
    expected = "empty.pt: cannot be read as a checkpoint (the file is empty); give another one"
    try:
        status = entry(folder, folder / "empty.pt")
    except (Refused, SystemExit) as error:
        assert expected in str(error)
    else:
        assert status == 1 and expected in capsys.readouterr().err


def test_without_the_repair_generate_runs_it(
    folder: Path, changed: Callable[[Change], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = folder / "ran"

    def act(state: dict[str, Any]) -> None:
        code = f"(open({str(marker)!r}, 'w'), None)[1]"
        state["cfg"]["model"].encoder_xformers_att_config = code

    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.delattr(fairseq.utils, "eval")
    ENTRIES["generate"](folder, changed(act))
    assert marker.exists()


def test_a_sound_checkpoint_is_left_as_it_is(folder: Path) -> None:
    path = folder / "checkpoint.pt"
    expected, found = torch.load(path), load(path)
    assert expected.keys() == found.keys() and expected["cfg"] == found["cfg"]
    averaged = copy.deepcopy(expected)
    averaged["model"]["_ema"] = dict(expected["model"])  # as data2vec keeps it
    averaged["model"]["layer._extra_state"] = 3
    torch.save(averaged, folder / "more.pt")
    assert load(folder / "more.pt")["model"].keys() == averaged["model"].keys()
