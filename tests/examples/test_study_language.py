"""Studies of language models: format, lines, tables, and a killed study."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.checkpoint_utils import load_checkpoint_to_cpu

import lrdrop_fairseq  # noqa: F401  today's torch needs its repairs to load a checkpoint
from examples.study import jobs, merged_tables, read_study, study_fields
from examples.study.language import plan, preparation, report
from examples.study.presets import trainings
from examples.study.translation import select_pairs
from examples.translation.demo.generate_corpus import main as generate
from scripts.corpora.prepare_text import TextError, find_file
from tests import toy_run as toy
from tests import toy_study
from tests.killed import kill_when
from tests.warm import KILLED

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "examples" / "language_model" / "study"
FLAGS = (
    "--num-workers 0 --decoder-layers 2 --decoder-embed-dim 32 --decoder-input-dim 32 "
    "--decoder-output-dim 32 --decoder-ffn-embed-dim 64 --decoder-attention-heads 4 "
    "--sample-break-mode eos --warmup-updates 4 --max-tokens 512 --log-interval 1"
)
TOY = f"""
kind: language
data:
  toy: {{text: FOLDER, train: train.en, valid: valid.en, test: [test.en, test.de], lines: 200,
        vocab_size: 100}}
preset: small
flags: {FLAGS}
updates: 12
validate_every: 4
start: 8
methods:
  plain: {{}}
  LR-Drop: {{hidden: 0.1, output: 1, ramp: 2}}
"""


def write_study(folder: Path, text: str = TOY, **changes: str) -> Path:
    return toy_study.write_study(folder, text, **changes)


def read(folder: Path, **changes: str) -> Any:
    return toy_study.make_study(folder, TOY, **changes)


def test_a_study_is_read(tmp_path: Path) -> None:
    study = read(tmp_path, **{"updates: 12": "updates: 12\nseeds: [1, 2]"})
    assert [cell.name for cell in study.cells] == [
        "toy/plain-seed1", "toy/LR-Drop-seed1", "toy/plain-seed2", "toy/LR-Drop-seed2"
    ]  # fmt: skip
    data = study.cells[0].data
    assert (data.lines, data.vocab_size, data.subsets) == (200, 100, ["valid", "test", "test1"])
    settings = study.settings(study.cells[1])
    for part in (
        f"{tmp_path}: train.en valid.en test.en test.de; 200 lines, 100 pieces", "preset small",
        "--warmup-updates 4", "hidden 0.1 output 1 start 8 ramp 2", "12 updates", "every 4",
        "best validation loss",
    ):  # fmt: skip
        assert part in settings
    changes = {", lines: 200,\n        vocab_size: 100": "", "start: 8": "start: 8\naverage: 2"}
    whole = read(tmp_path, **changes)
    assert "test.de; all lines, words" in whole.settings(whole.cells[0])
    assert whole.rule == "average of 2"


@pytest.mark.parametrize("path", sorted(STUDY.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_studies_of_the_project_can_be_read(path: Path) -> None:
    study = read_study.read_study(path, ROOT)
    assert {"plain", "rdrop", "lrdrop"} == {cell.method.family for cell in study.cells}
    assert len({cell.seed for cell in study.cells}) >= 3
    assert all(cell.data.text.parent == ROOT / "data" for cell in study.cells)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lines: 200", "pairs: 200", "toy: unknown key 'pairs'"),
        ("lines: 200", "lines: 0", "lines must be a whole number of at least 1, not 0"),
        ("train: train.en", "train: 3", "train must be text, not 3"),
        ("[test.en, test.de]", "test.en", "test must be a list of names, not 'test.en'"),
        ("[test.en, test.de]", "['a,b']", "a comma in"),
        ("preset: small", "", "preset must be text, not None"),
        ("start: 8", "start: 12", "start is 12; it must be below updates (12)"),
        ("--warmup-updates", "--lr-scheduler cosine --warmup-updates", "cosine depends on the end"),
        ("--warmup-updates", "--seed 2 --warmup-updates", "--seed is set by the runner"),
    ],
)
def test_a_faulty_study_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(study_fields.StudyError) as error:
        read(tmp_path, **{old: new})
    assert message in str(error.value) and "small.yaml" in str(error.value)


def test_beginnings_are_shared(tmp_path: Path) -> None:
    """The jobs of a cell are those of a study of translation, with other scripts."""
    more = "  longer: {updates: 24}\n  now: {output: 1, start: 0}\n"
    study = read(tmp_path, **{"  plain: {}\n": f"  plain: {{}}\n{more}"})
    found = plan.plan(jobs.Place(study, tmp_path, "cpu"), study.cells)
    begun = {job.name: job for job in found if isinstance(job, trainings.Training)}
    beginning = begun.pop("begin toy/plain8-seed1")
    from_where = {name.split("/")[1]: job.begins_from for name, job in begun.items()}
    assert from_where == {
        "plain-seed1": beginning, "longer-seed1": beginning, "now-seed1": None,
        "LR-Drop-seed1": beginning,
    }  # fmt: skip
    assert {job.scripts for job in begun.values()} == {ROOT / "examples" / "language_model"}
    assert beginning.scripts == ROOT / "examples" / "language_model"


def test_selected_lines_are_those_of_as_many_pairs(tmp_path: Path) -> None:
    lines = [f"line {i}\u2028" for i in range(50)]
    (tmp_path / "all.en.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (tmp_path / "all.de").write_text("x\n" * 50)

    def select(count: int) -> list[str]:
        preparation.select_lines(tmp_path / "all.en.gz", count, tmp_path / "new" / "some")
        return (tmp_path / "new" / "some").read_text(encoding="utf-8").split("\n")[:-1]

    chosen = select(10)
    assert len(set(chosen)) == 10 and chosen == [line for line in lines if line in chosen]
    assert set(chosen) < set(select(20)) and select(50) == lines
    select_pairs.select_pairs(tmp_path / "all", ("en", "de"), 10, tmp_path / "pairs")
    assert (tmp_path / "pairs.en").read_text(encoding="utf-8").split("\n")[:-1] == chosen
    with pytest.raises(TextError, match=r"all.en.gz has 50 lines, and 51 are wanted"):
        select(51)


def test_a_text_is_plain_or_packed_and_not_both(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"neither .*a\.en nor .*a\.en\.gz exists$"):
        find_file(tmp_path / "a.en")
    (tmp_path / "a.en.gz").touch()
    assert find_file(tmp_path / "a.en") == tmp_path / "a.en.gz"
    (tmp_path / "a.en").touch()
    with pytest.raises(TextError, match="exist: move away the one not meant"):
        find_file(tmp_path / "a.en")


def row(method: str, family: str, seed: int, *words: float, **more: str) -> Any:
    """A row with the perplexities per word of the validation set and the test sets."""
    names = ("valid", "test", "test1")
    scores = {f"{name} perplexity per word": str(value) for name, value in zip(names, words)}
    return {
        "data": "a", "method": method, "family": family, "seed": str(seed), "stopped": "",
        "variant": "", "updates": "300", "seconds": "100", "seconds per update": "0.3",
        "machine": "M", "versions": "V", "workers": "2", "date": "today", "peak MiB": "300",
        "best validation nll": "5", "best at": "200", "checkpoint": "best validation loss",
        "test perplexity per piece": "20", **scores, **more,
    }  # fmt: skip


ORDER = [
    *("plain", "plain-longer", "R-Drop", "R-Drop-2", "LR-Drop"),
    *("wide", "R-Drop-wide", "LR-Drop-wide"),
]


def lines_of(rows: Any) -> dict[str, dict[str, str]]:
    """Each method's line in the table."""
    found, head = {}, []
    for line in report.report(rows, [], [], ORDER).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "method":
            head = cells
        elif cells[0] in ORDER:
            found[cells[0]] = dict(zip(head, cells))
    return found


def test_table_by_hand() -> None:
    """The gains are -3 and -4: t = -3.5 / 0.5 = -7, with one degree of freedom p = 0.0903."""
    wide = {"variant": "--decoder-embed-dim 64"}
    rows = [
        row("plain", "plain", 1, 40, 50, 60), row("plain", "plain", 2, 44, 52, 62),
        row("plain-longer", "plain", 1, 40, 51, 60, updates="600"),
        row("R-Drop", "rdrop", 1, 30, 48, 58), row("R-Drop-2", "rdrop", 1, 30, 10, 10),
        row("LR-Drop", "lrdrop", 1, 30, 46, 58), row("LR-Drop", "lrdrop", 2, 31, 49, 57),
        row("LR-Drop", "lrdrop", 3, 31, 1, 1, stopped="early"),
        row("wide", "plain", 1, 30, 10, 10, **wide),
        row("R-Drop-wide", "rdrop", 1, 30, 9, 9, **wide),
        row("LR-Drop-wide", "lrdrop", 1, 30, 8, 8, **wide),
    ]  # fmt: skip
    found = lines_of(rows)
    line = found["LR-Drop"]
    assert (line["seeds"], line["valid ppl/word"]) == ("1, 2", "30.50 ± 0.71")
    assert (line["test ppl/word"], line["test1 ppl/word"]) == ("47.50 ± 2.12", "57.50 ± 0.71")
    assert line["test ppl/piece"] == "20.00 ± 0.00" and line["valid nll"] == "5.000 ± 0.000"
    assert line["− plain"] == "-3.50 (p 0.090, n 2)"
    assert (line["− plain-longer"], line["− R-Drop"]) == ("-3.50", "-1.00")
    assert "− R-Drop-2" not in line, "the first one alone"
    other = found["LR-Drop-wide"]
    assert (other["− wide"], other["− R-Drop"]) == ("-2.00", "-1.00"), "of the same model"
    assert found["R-Drop-wide"]["− R-Drop"] == ""
    assert line["− wide"] == found["wide"]["− plain"] == "", "another model"
    assert (found["plain"]["− plain"], found["plain"]["− plain-longer"]) == ("", "-0.50")
    text = report.report(rows, [], [], ORDER)
    assert "- a/LR-Drop-seed3: 300 updates" in text and "test1 perplexity per word 1" in text
    assert "M, V (--workers 2, today)" in text
    assert report.report([], [], [], ORDER) == "No cell is complete yet.\n"


def write_texts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's corpus; the training text packed."""
    sizes = ["--train=300", "--valid=30", "--test=30"]
    monkeypatch.setattr(sys, "argv", ["", f"--output={folder}", *sizes])
    generate()
    train = folder / "train.en"
    (folder / "train.en.gz").write_bytes(gzip.compress(train.read_bytes()))
    train.unlink()


def parameters(folder: Path) -> Any:
    return load_checkpoint_to_cpu(str(folder / "checkpoint_last.pt"))["model"]


@pytest.mark.long  # test_study.py kills one, too
def test_a_killed_study_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost, and the cell equals a training that was never interrupted, bit for bit."""
    folder, output = tmp_path / "text", tmp_path / "out"
    write_texts(folder, monkeypatch)
    command = [str(STUDY / "run.sh"), str(write_study(folder)), "--output", str(output),
               "--workers", "2", "--device", "cpu"]  # fmt: skip
    kill_when("train toy/LR-Drop-seed1: starts", command, env={**toy.ENVIRONMENT, **KILLED})
    done = subprocess.run(command, env=toy.ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "begin toy" not in done.stderr, "the beginning was complete"
    rows = {row["method"]: row for row in merged_tables.read(output / "results.tsv")}
    assert set(rows) == {"plain", "LR-Drop"}
    for method, found in rows.items():
        assert (found["updates"], found["stopped"]) == ("12", ""), method
        assert int(found["parameters"]) > 0 and float(found["peak MiB"]) > 0
        assert f"lrdrop_fairseq {lrdrop_fairseq.__version__}" in found["versions"]
        assert f"torch {torch.__version__}" in found["machine"]
        scores = json.loads(
            (output / "cells/toy" / f"{method}-seed1/eval/scores.test1.json").read_text()
        )
        assert (scores["file"], scores["lines"]) == ("test.de", 30)
        for entry in scores["scores"]:
            column = f"test1 perplexity per {entry['unit']}"
            assert float(found[column]) == pytest.approx(entry["perplexity"], abs=5e-4)
        # What training logs is what the evaluation of its best checkpoint finds.
        nll = float(found["best validation nll"])
        assert float(found["valid perplexity per piece"]) == pytest.approx(2**nll, rel=2e-3)
    prepared = json.loads((output / "data" / "toy" / "prepare.json").read_text())
    assert prepared["subsets"]["train"]["lines"] == 200
    curve = merged_tables.read(output / "curves.tsv")
    assert [(r["method"], r["updates"]) for r in curve] == [
        (method, str(n)) for method in ("LR-Drop", "plain") for n in (12, 4, 8)
    ]  # fmt: skip
    assert "| LR-Drop  | 1" in done.stdout and (output / "curves.png").is_file()
    again = subprocess.run(command, env=toy.ENVIRONMENT, capture_output=True, text=True, check=True)
    assert "2 cells, 2 of them complete" in again.stderr and again.stdout == done.stdout

    train = ROOT / "examples" / "language_model" / "train.sh"
    subprocess.run(
        [str(train), str(output / "data" / "toy"), "--method", "lrdrop", "--preset", "small",
         "--save-dir", str(tmp_path / "whole"), "--", *FLAGS.split(), "--cpu", "--max-update=12",
         "--lr-drop-start=8", "--lr-drop-ramp=2", "--lr-drop-hidden-weight=0.1",
         "--lr-drop-attention-weight=0", "--lr-drop-output-weight=1", "--no-epoch-checkpoints",
         "--validate-interval=1000000"],
        env=toy.ENVIRONMENT, check=True, capture_output=True,
    )  # fmt: skip
    ours, whole, plain = map(
        parameters,
        (output / "cells/toy/LR-Drop-seed1", tmp_path / "whole", output / "cells/toy/plain-seed1"),
    )
    assert all(torch.equal(ours[name], whole[name]) for name in whole)
    assert not all(torch.equal(plain[name], whole[name]) for name in whole)
