"""Studies of classified sentences: format, drawing, tables, plots, sets, and a killed study."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from examples.language_understanding.study import prepare_sets
from examples.study import jobs, merged_tables, read_study, study_fields
from examples.study.sentences import draw_examples, kind, plan, random_encoder, report
from tests import toy_run as toy
from tests import toy_study
from tests.killed import kill_when
from tests.toy_encoders import make_folder
from tests.warm import KILLED

ROOT = Path(__file__).resolve().parents[2]
RUNNER = ROOT / "examples" / "study"
STUDY = ROOT / "examples" / "language_understanding" / "study"


TOY = """
kind: sentences
pretrained: FOLDER/bert
data:
  animals-12: {text: FOLDER/animals, examples: 12, metric: mcc}
flags: --lr 1e-3 --batch-size 4 --task lr_drop_sentence_prediction --batch-by-length
updates: 4
validate_every: 2
seeds: [1, 2]
methods:
  plain: {}
  LR-Drop: {hidden: 0.1, output: 1, start: 1, ramp: 2, from_scratch: true}
"""


def write_study(folder: Path, text: str = TOY, **changes: str) -> Path:
    return toy_study.write_study(folder, text, **changes)


def read(folder: Path, **changes: str) -> Any:
    return toy_study.make_study(folder, TOY, **changes)


def test_a_study_is_read(tmp_path: Path) -> None:
    study = read(tmp_path)
    plain, lrdrop = study.cells[:2]
    assert [cell.name for cell in study.cells[1:3]] == [
        "animals-12/LR-Drop-seed1", "animals-12/plain-seed2"
    ]  # fmt: skip
    assert (plain.data.set_name, plain.data.metric, plain.data.examples) == ("animals", "mcc", 12)
    assert (plain.method.family, lrdrop.method.family) == ("plain", "lrdrop")
    settings = study.settings(lrdrop)
    for part in (
        "animals: 12 examples", f"{tmp_path}/bert", "--lr 1e-3", "random parameters",
        "hidden 0.1 output 1 start 1 ramp 2", "4 updates, 0 of warm-up", "every 2",
        "best valid mcc",
    ):  # fmt: skip
        assert part in settings
    assert "no terms" in study.settings(plain) and "random" not in study.settings(plain)
    assert not study.keep_checkpoints
    longer = read(tmp_path, **{"  plain: {}": "  plain: {updates: 600}"}).cells[0].method
    assert (longer.updates, longer.warmup) == (600, 36)


def test_updates_of_a_set_are_those_of_all_methods_in_proportion(tmp_path: Path) -> None:
    changes = {"examples: 12": "examples: 12, updates: 10", "  plain: {}": "  plain: {updates: 8}"}
    plain, lrdrop = (cell.method for cell in read(tmp_path, **changes).cells[:2])
    assert (plain.updates, lrdrop.updates) == (20, 10)
    # 1 and 2 of 4 updates, a half of each step up
    assert (lrdrop.start, lrdrop.ramp) == (2, 5)


@pytest.mark.parametrize("path", sorted(STUDY.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_studies_of_the_project_can_be_read(path: Path) -> None:
    study = read_study.read_study(path, ROOT)
    assert {"plain", "rdrop", "lrdrop"} == {cell.method.family for cell in study.cells}
    sets = {cell.data.set_name: cell.data.metric for cell in study.cells}
    assert set(sets) <= set(prepare_sets.SETS)
    assert [name for name, metric in sets.items() if metric == "mcc"] in (["cola"], [])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: sentences", "kind: pictures", "kind must be translation or sentences"),
        ("metric: mcc", "metric: f1", "animals-12: metric must be accuracy or mcc, not 'f1'"),
        ("examples: 12", "examples: all", "examples must be a whole number"),
        ("examples: 12", "pairs: 12", "unknown key 'pairs'"),
        ("pretrained: ", "preset: ", "unknown key 'preset'"),
        ("from_scratch: true", "from_scratch: 1", "from_scratch must be true or false, not 1"),
        ("start: 1", "start: 4", "start is 4; it must be below updates (4)"),
        ("updates: 4", "updates: 5", "updates must be a multiple of validate_every (2)"),
        ("--lr 1e-3", "--lr 1e-3 --warmup-updates 5", "--warmup-updates is set by the runner"),
        ("--lr 1e-3", "--max-update=5", "--max-update=5 is set by the runner"),
        ("data:", "data:\n  b: {text: other/animals, examples: 2}", "have the same name"),
    ],
)
def test_a_faulty_study_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(study_fields.StudyError) as error:
        read(tmp_path, **{old: new})
    assert message in str(error.value) and "small.yaml" in str(error.value)


def test_jobs_of_a_cell(tmp_path: Path) -> None:
    """One encoder for a set, data for each seed; and what fairseq-train is told."""
    study = read(tmp_path)
    found = plan.plan(jobs.Place(study, tmp_path, "cpu"), study.cells)
    names = [job.name for job in found]
    assert names[:5] == [
        "encoder animals", "data animals-12-seed1", "train animals-12/plain-seed1",
        "evaluate animals-12/plain-seed1", "train animals-12/LR-Drop-seed1",
    ]  # fmt: skip
    assert len(names) == 1 + 2 + 2 * 4
    for position, job in enumerate(found):
        assert all(need in found[:position] for need in job.needs)
    flags = " ".join(found[4]._flags())
    assert "--lr-drop-hidden-weight=0.1 --lr-drop-attention-weight=0" in flags
    assert "--lr-drop-start=1 --lr-drop-ramp=2 --max-update 4 --total-num-update 4" in flags
    assert "--report-mcc --best-checkpoint-metric mcc --cpu" in flags


def test_examples_have_every_class_and_larger_numbers_hold_smaller_ones() -> None:
    labels = ["a"] * 500 + ["b"] * 40 + ["c"]
    draws = {n: draw_examples.draw(labels, n, seed=1) for n in (3, 10, 100, 541)}
    assert all({labels[i] for i in found} == set("abc") for found in draws.values())
    assert all(len(set(found)) == n and found == sorted(found) for n, found in draws.items())
    assert set(draws[3]) < set(draws[10]) < set(draws[100]) < set(draws[541])
    assert draws[100] != draw_examples.draw(labels, 100, seed=2)
    # The same on every machine.
    assert draw_examples.draw(list("aabbccabc"), 5, seed=3) == [0, 1, 5, 6, 7]
    with pytest.raises(draw_examples.DrawingError, match="541 rows, and 542 are wanted"):
        draw_examples.draw(labels, 542, seed=1)
    with pytest.raises(draw_examples.DrawingError, match="3 classes, so 2 rows are too few"):
        draw_examples.draw(labels, 2, seed=1)


def test_drawn_examples_are_lines_of_the_file(tmp_path: Path) -> None:
    lines = [f"{i % 2}\ttext\x85 {i}\tpair\n" for i in range(20)]
    (tmp_path / "train.tsv").write_text("".join(lines), encoding="utf-8")
    draw_examples.draw_examples(tmp_path / "train.tsv", 8, 1, tmp_path / "some" / "train.tsv")
    chosen = (tmp_path / "some" / "train.tsv").read_text(encoding="utf-8").split("\n")
    assert len(chosen) == 9 and all(f"{line}\n" in lines for line in chosen[:-1])
    with pytest.raises(draw_examples.DrawingError, match=r"train.tsv: it has 20 rows"):
        draw_examples.draw_examples(tmp_path / "train.tsv", 21, 1, tmp_path / "x")
    (tmp_path / "train.tsv").write_text("0\ta\nno label\n")
    with pytest.raises(draw_examples.DrawingError, match=r"train.tsv, line 2: LABEL<TAB>TEXT"):
        draw_examples.draw_examples(tmp_path / "train.tsv", 1, 1, tmp_path / "x")


def row(data: str, method: str, family: str, seed: int, test: float, **more: str) -> Any:
    return {
        "data": data, "set": data, "examples": "500", "method": method, "family": family,
        "seed": str(seed), "stopped": "", "variant": "", "updates": "300", "seconds": "100",
        "seconds per update": "0.3", "machine": "M", "workers": "2", "date": "today",
        "best validation loss": "0.5", "valid accuracy": "70", "test accuracy": str(test), **more,
    }  # fmt: skip


ORDER = ["plain", "plain-longer", "R-Drop", "LR-Drop", "scratch"]


def lines_of(method: str, rows: Any) -> list[dict[str, str]]:
    """A method's lines in the tables."""
    found, head = [], []
    for line in report.report(rows, [], [], ORDER).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "method":
            head = cells
        elif cells[0] == method:
            found.append(dict(zip(head, cells)))
    return found


def test_table_by_hand() -> None:
    """On a the gains are 3 and 4: t = 3.5 / 0.5 = 7, with one degree of freedom p = 0.0903. With
    -1 and -2 on b they have the mean 1 and t = 2 / sqrt(26 / 3), of three degrees of freedom:
    x = t / sqrt(3), p = 1 - 2 / pi * (atan(x) + x / (1 + x^2)) = 0.5457."""
    mcc = {"valid mcc": "1", "test accuracy": "99"}
    rows = [
        row("a", "plain", "plain", 1, 80), row("a", "plain", "plain", 2, 82),
        row("a", "plain-longer", "plain", 1, 81, updates="600"),
        row("a", "LR-Drop", "lrdrop", 1, 83), row("a", "LR-Drop", "lrdrop", 2, 86),
        row("a", "scratch", "plain", 1, 50, variant="from scratch"),
        row("b", "plain", "plain", 1, 0, **mcc, **{"test mcc": "40"}),
        row("b", "plain", "plain", 2, 0, **mcc, **{"test mcc": "40"}),
        row("b", "LR-Drop", "lrdrop", 1, 0, **mcc, **{"test mcc": "39"}),
        row("b", "LR-Drop", "lrdrop", 2, 0, **mcc, **{"test mcc": "38"}),
    ]  # fmt: skip
    a, b, both = lines_of("LR-Drop", rows)
    assert (a["seeds"], a["test accuracy"]) == ("2", "84.50 ± 2.12")
    assert a["− plain"] == "+3.50 (p 0.090, n 2)" and a["− plain-longer"] == "+2.00"
    assert "− scratch" not in a and "− R-Drop" not in a, "no baseline, and none here"
    assert (b["test mcc"], b["− plain"]) == ("38.50 ± 0.71", "-1.50 (p 0.205, n 2)")
    assert both["− plain"] == "+1.00 (p 0.546, n 4)"
    assert both["better/worse than plain"] == "1/1 of 2"
    assert both["better/worse than plain-longer"] == "1/0 of 1"
    plain = lines_of("plain", rows)
    assert (plain[0]["− plain"], plain[0]["− plain-longer"]) == ("", "-1.00")
    assert lines_of("scratch", rows)[0]["− plain"] == "-30.00"
    assert report.report([], [], [], ORDER) == "No cell is complete yet.\n"


def test_plots_are_drawn(tmp_path: Path) -> None:
    """examples.png where a set has two numbers of examples."""
    rows = [
        row(f"a-{n}", method, "plain", seed, 70 + seed + n / 100, examples=str(n), set="a")
        for n in (100, 500) for method in ("plain", "LR-Drop") for seed in (1, 2)
    ]  # fmt: skip
    curve = [
        {"data": "a-100", "method": "plain", "seed": "1", "updates": str(n), "seconds": str(n),
         "validation loss": "1.5"}
        for n in (100, 200)
    ]  # fmt: skip
    kind.KIND.draw(rows, curve, ORDER, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "examples.png"]
    (tmp_path / "examples.png").unlink()
    kind.KIND.draw([r for r in rows if r["examples"] == "100"], curve, ORDER, tmp_path)
    assert not (tmp_path / "examples.png").exists()


def test_random_parameters() -> None:
    shared = torch.ones(5, 4)
    state = {
        "a.embed_tokens.weight": shared, "a.lm_head.weight": shared,
        "a.layer_norm.weight": torch.zeros(4), "a.layer_norm.bias": torch.ones(4),
        "a.fc1.weight": torch.ones(200, 200), "a.version": torch.tensor([3.0]),
    }  # fmt: skip
    random_encoder.reset(state, 1)
    assert state["a.fc1.weight"].std().item() == pytest.approx(0.02, rel=0.05)
    assert state["a.layer_norm.weight"].eq(1).all() and state["a.layer_norm.bias"].eq(0).all()
    assert state["a.lm_head.weight"] is shared and state["a.version"].item() == 3
    assert shared[1].eq(0).all() and shared[0].ne(0).all()


def write_raw(raw: Path) -> None:
    """Small files in the layouts of the sets."""
    texts, glue = raw / "sentence-classification", raw / "glue"
    texts.mkdir(parents=True)
    long = "".join(f"{i % 2} text {i} \n" for i in range(2000))
    for name in ("rt-polarity", "subj"):
        (texts / f"{name}.all").write_bytes(long.encode() + b"1 caf\xe9 \x85 au lait \n")
    for name in ("custrev", "mpqa"):
        (texts / f"{name}.all").write_bytes(b"0 \n" + long.encode())
    (texts / "TREC.train.all").write_text(long)
    (texts / "TREC.test.all").write_text("0 text 3\n1 a new one\n")
    for name in ("train", "dev", "test"):
        (texts / f"stsa.binary.{name}").write_text(f"0 {name} one\n1 {name} two\n")
    for name in ("CoLA", "SST-2", "RTE"):
        (glue / name).mkdir(parents=True)
    cola = [f'gj04\t{i % 2}\t*\tA "quoted one {i}.\n' for i in range(600)]
    sst2 = ["sentence\tlabel\n", *(f"text {i} \t{i % 2}\n" for i in range(600))]
    rte = ["index\tsentence1\tsentence2\tlabel\n",
           *(f"{i}\tone {i}\ttwo\tentailment\n" for i in range(400))]  # fmt: skip
    for name, table in {"CoLA": cola, "SST-2": sst2, "RTE": rte}.items():
        (glue / name / "dev.tsv").write_text("".join(table[:3]).removesuffix("\n"))
        (glue / name / "train.tsv").write_text("".join(table))
    packed = glue / "SST-2" / "train.tsv"
    packed.with_suffix(".tsv.gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()


def make_sets(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(STUDY / "prepare_sets.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_sets_are_prepared(tmp_path: Path) -> None:
    raw, output = tmp_path / "raw", tmp_path / "sets"
    write_raw(raw)
    done = make_sets(raw, output)
    assert done.returncode == 0, done.stderr
    counts = {line.split(":")[0]: line for line in done.stdout.splitlines()}
    assert list(counts) == list(prepare_sets.SETS)
    assert "train 1,500, valid 500, test 2; 2 classes; " in counts["trec"]
    assert "train 501, valid 500, test 1,000" in counts["mr"] and "left out" not in counts["mr"]
    assert counts["cr"].endswith("train 500, valid 500, test 1,000; 2 classes; 0 of test in train "
                                 "too; 1 without text left out")  # fmt: skip
    assert "train 100, valid 500, test 3; 2 classes" in counts["cola"]
    assert "train 100, valid 500, test 2; 2 classes" in counts["glue-sst2"]
    assert "train 100, valid 300, test 2; 1 classes" in counts["rte"]

    def rows(name: str, *subsets: str) -> list[str]:
        return [
            line
            for subset in subsets
            for line in (output / name / f"{subset}.tsv").read_bytes().decode().split("\n")[:-1]
        ]

    everything = rows("mr", "train", "valid", "test")
    assert len(everything) == len(set(everything)) == 2001, "no row is lost"
    assert "1\tcafé \x85 au lait" in everything, "ISO-8859-1"
    assert rows("sst2", "valid") == ["0\tdev one", "1\tdev two"]
    assert rows("cola", "test")[1] == '1\tA "quoted one 1.'
    assert rows("rte", "test")[0] == "entailment\tone 0\ttwo"
    assert rows("glue-sst2", "test") == ["0\ttext 0", "1\ttext 1"]
    again = rows("subj", "test")
    assert make_sets(raw, output, "--only", "subj").returncode == 0
    assert rows("subj", "test") == again, "the same split every time"


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_raw(raw)
    (raw / "glue" / "RTE" / "dev.tsv").unlink()
    done = make_sets(raw, tmp_path / "sets")
    assert done.returncode == 1 and "RTE/dev.tsv is missing" in done.stderr
    assert make_sets(raw, tmp_path / "sets", "--only", "trec,cola").returncode == 0
    assert "no set 'imdb'" in make_sets(raw, tmp_path / "sets", "--only", "imdb").stderr
    (raw / "sentence-classification" / "subj.all").write_text("0 a\nno label\n")
    done = make_sets(raw, tmp_path / "sets", "--only", "subj")
    assert "subj.all, line 2: a number, a space and text were expected" in done.stderr


def write_animals(folder: Path) -> None:
    """Sentences of which a word decides."""
    draw = random.Random(0)
    folder.mkdir()
    for subset, count in {"train": 60, "valid": 12, "test": 15}.items():
        lines = []
        for number in range(count):
            words = [*draw.sample("the one small old red quick".split(), 3), "sleeps"]
            words.insert(2, ["dog", "cat"][number % 2])
            lines.append(f"{number % 2}\t{' '.join(words)}\n")
        (folder / f"{subset}.tsv").write_text("".join(lines))


@pytest.mark.long  # test_study.py kills one, too
def test_a_killed_study_goes_on(tmp_path: Path) -> None:
    """Seed 1 is trained here, twice begun; seed 2 comes from another machine."""
    make_folder(tmp_path / "bert", "bert")
    write_animals(tmp_path / "animals")
    path, output = write_study(tmp_path), tmp_path / "out"
    study = read_study.read_study(path, ROOT)
    elsewhere = [
        row("animals-12", cell.method.name, cell.method.family, 2, 60,
            settings=study.settings(cell), **{"valid mcc": "1", "test mcc": "2"})
        for cell in study.cells if cell.seed == 2
    ]  # fmt: skip
    output.mkdir()
    merged_tables.merge(output / "results.tsv", ("data", "method", "seed"), elsewhere)
    command = [str(RUNNER / "run.sh"), str(path), "--output", str(output), "--workers", "2",
               "--device", "cpu"]  # fmt: skip
    to_kill = {**toy.ENVIRONMENT, **KILLED}
    kill_when("train animals-12/LR-Drop-seed1: starts", command, env=to_kill)
    done = subprocess.run(command, env=toy.ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "4 cells, 2 of them complete" in done.stderr
    assert "encoder animals: starts" not in done.stderr, "that was complete"
    rows = merged_tables.read(output / "results.tsv")
    here = {r["method"]: r for r in rows if r["seed"] == "1"}
    assert set(here) == {"plain", "LR-Drop"} and len(rows) == 4
    for method, found in here.items():
        assert (found["set"], found["examples"], found["updates"]) == ("animals", "12", "4")
        assert 0 <= float(found["test accuracy"]) <= 100 and found["valid mcc"], method
        assert found["best at"] in ("2", "4") and float(found["best validation loss"]) > 0
    assert here["LR-Drop"]["variant"] == "from scratch"
    curve = merged_tables.read(output / "curves.tsv")
    assert [(r["method"], r["updates"]) for r in curve] == [
        ("LR-Drop", "2"), ("LR-Drop", "4"), ("plain", "2"), ("plain", "4")
    ]  # fmt: skip
    cells = output / "cells" / "animals-12"
    assert not list(cells.rglob("*.pt")), "checkpoints are deleted"
    assert (cells / "plain-seed1" / "seed1" / "predictions.test.tsv").is_file()
    log = (cells / "LR-Drop-seed1" / "seed1" / "train.log").read_text()
    assert "hidden_loss" in log and "'batch_by_length': True" in log
    assert "## animals-12" in done.stdout and "All data sets together" in done.stdout
    assert (output / "curves.png").is_file() and os.path.getsize(output / "table.md")
