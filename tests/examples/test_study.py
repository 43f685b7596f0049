"""Studies of trainings: their format, plan and tables, and real cells, killed and resumed."""

from __future__ import annotations

import dataclasses
import fcntl
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from fairseq.checkpoint_utils import load_checkpoint_to_cpu

from examples.study import curves, jobs, merged_tables, read_study, rows, study_fields, tables
from examples.study.presets import trainings
from examples.study.translation import comparisons, plan, select_pairs
from examples.study.translation import report as study_report
from examples.study.translation.evaluations import Evaluation
from examples.study.translation.kind import KIND
from lrdrop_fairseq.checkpoints import newest
from scripts.corpora import prepare_text as text_errors
from scripts.scores import length_penalty
from tests import toy_run as toy
from tests import toy_study
from tests.killed import kill_when
from tests.warm import KILLED

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "examples" / "translation" / "study"
RUNNER = ROOT / "examples" / "study"


FLAGS = (
    "--encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 32 --decoder-embed-dim 32 "
    "--max-tokens 400 --warmup-updates 20 --lr 0.003 --log-interval 5 --num-workers 0"
)
TOY = """
data:
  toy:
    {text: FOLDER, source_lang: de, target_lang: en, train: train, valid: valid, test: [test],
     vocab_size: 50}
preset: multi30k
flags: FLAGS
updates: 30
validate_every: 10
start: 20
methods:
  plain: {}
  LR-Drop: {hidden: 0.1, output: 1, ramp: 5}
""".replace("FLAGS", FLAGS)


def write_study(folder: Path, text: str = TOY, **changes: str) -> Path:
    return toy_study.write_study(folder, text, **changes)


def read(folder: Path, **changes: str) -> Any:
    return toy_study.make_study(folder, TOY, **changes)


def test_cells_are_data_times_seeds_times_methods(tmp_path: Path) -> None:
    study = read(tmp_path, **{"updates: 30": "updates: 30\nseeds: [1, 2]\naverage: 3"})
    names = [cell.name for cell in study.cells]
    assert names == [
        "toy/plain-seed1", "toy/LR-Drop-seed1", "toy/plain-seed2", "toy/LR-Drop-seed2"
    ]  # fmt: skip
    method = study.cells[1].method
    assert (method.hidden, method.attention, method.output) == (0.1, 0.0, 1.0)
    assert (method.start, method.ramp, method.updates, method.family) == (20, 5, 30, "lrdrop")
    assert study.cells[0].method.family == "plain"
    assert study.rule == "average of 3"
    assert study.cells[0].data.subsets == ["valid", "test"]
    settings = study.settings(study.cells[1])
    for part in (
        f"{tmp_path}: de en train valid test", "all pairs", "50 pieces", "--lr 0.003",
        "hidden 0.1 output 1 start 20 ramp 5", "30 updates", "every 10", "average of 3",
    ):  # fmt: skip
        assert part in settings
    assert "no terms" in study.settings(study.cells[0])


@pytest.mark.parametrize(
    ("average", "rule"),
    [
        ("", "best validation loss"),
        ("average: 1", "last checkpoint"),
        ("average: 2", "average of 2"),
    ],
)
def test_a_study_says_in_words_which_checkpoint_it_scores(
    tmp_path: Path, average: str, rule: str
) -> None:
    study = read(tmp_path, **{"updates: 30": f"updates: 30\n{average}"})
    assert study.rule == rule
    assert study.settings(study.cells[0]).endswith(f"; {rule}")


@pytest.mark.parametrize(
    ("average", "complete", "expected"),
    [
        ("", True, ["--checkpoint", "checkpoint_best.pt"]),
        ("average: 1", True, ["--checkpoint", "checkpoint_last.pt"]),
        ("average: 2", True, ["--save-dir", ".", "--average", "2"]),
        ("average: 3", True, ["--save-dir", ".", "--average", "2"]),
        ("average: 2", False, ["--save-dir", ".", "--average", "1"]),
    ],
)
def test_the_last_update_counts_where_it_ends_an_epoch(
    tmp_path: Path, average: str, complete: bool, expected: list[str]
) -> None:
    """Then fairseq writes checkpoint_last.pt alone; that of update 20 is of the beginning."""
    study = read(tmp_path, **{"updates: 30": f"updates: 30\n{average}"})
    found = plan.plan(jobs.Place(study, tmp_path, "cpu"), study.cells)
    training = [job for job in found if isinstance(job, trainings.Training)][-1]
    assert training.cell.method.updates == 30
    training.folder.mkdir(parents=True)
    assert training.checkpoint() is None
    for name in ("best", "last", "1_20"):
        (training.folder / f"checkpoint_{name}.pt").write_text(name)
    if complete:
        training.run(SimpleNamespace(run=lambda *_, **__: None))  # type: ignore[arg-type]
    where = [str(part).removeprefix(f"{training.folder}/") for part in training.checkpoint()]
    assert where == [str(training.folder) if part == "." else part for part in expected]
    last = newest.last_checkpoints(training.folder, 1)[0].read_text()
    assert last == ("last" if complete and "--average" in expected else "1_20")


@pytest.mark.parametrize("path", sorted(STUDY.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_studies_of_the_project_can_be_read(path: Path) -> None:
    study = read_study.read_study(path, ROOT)
    assert {"plain", "rdrop", "lrdrop"} == {cell.method.family for cell in study.cells}
    assert all(cell.data.text.parent == ROOT / "data" for cell in study.cells)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("preset: multi30k", "", "preset must be text, not None"),
        (
            "updates: 30",
            "updates: many",
            "updates must be a whole number of at least 1, not 'many'",
        ),
        ("plain: {}", "plain: {updates: 0}", "updates must be a whole number of at least 1, not 0"),
        ("updates: 30", "updates: 35", "updates must be a multiple of validate_every"),
        ("start: 20", "start: 25", "start is 25; it must be below updates"),
        ("start: 20", "start: 30", "start is 30; it must be below updates"),
        ("hidden: 0.1", "hidden: -1", "methods: LR-Drop: hidden must be a weight"),
        ("hidden: 0.1", "hidden: true", "methods: LR-Drop: hidden must be a weight"),
        ("hidden: 0.1", "hiden: 0.1", "methods: LR-Drop: unknown key 'hiden'"),
        ("plain: {}", "pl/ain: {}", "'pl/ain' is no name"),
        ("--lr 0.003", "--lr 0.003 --seed=3", "--seed=3 is set by the runner"),
        ("--lr 0.003", "--lr 0.003 --lr-scheduler cosine", "cosine depends on the end"),
        ("--lr 0.003", "--lr 0.003 --lr-scheduler=cosine", "cosine depends on the end"),
        ("--lr 0.003", "--lr 0.003 --max-epoch 3", "--max-epoch is set by the runner"),
        ("plain: {}", "'pl:ain': {}", "'pl:ain' is no name"),
        ("test: [test]", "test: ['a,b']", "a comma in"),
        ("test: [test]", "test: test", "test must be a list"),
        ("text: ", "txt: ", "unknown key 'txt'"),
        *[
            ("start: 20", f"length_penalties: {given}", "must be a list of different numbers")
            for given in ("1.5", "[a]", "[1, 1.0]", "[-1]", "[true]")
        ],
        *[
            ("start: 20", f"seeds: {seeds}", "seeds must be a list of different whole numbers")
            for seeds in ("[a]", "[1, 1]", "[]", "[true]")
        ],
        ("--lr 0.003", "--adam-betas '(0.9, 0.98)", "flags: No closing quotation"),
        ("start: 20", "start: [", "cannot be read as YAML"),
    ],
)
def test_a_faulty_study_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(study_fields.StudyError) as error:
        read(tmp_path, **{old: new})
    assert message in str(error.value) and "small.yaml" in str(error.value)


def test_beginnings_are_shared(tmp_path: Path) -> None:
    """Of three starts and another dropout: who goes on from where, and trains how long."""
    methods = """
  late: {output: 1, start: 20}
  early: {output: 1, start: 10}
  form: {output: 2, start: 20, flags: --lr-drop-form x}
  drop: {output: 1, flags: --dropout 0.1}
  now: {output: 1, start: 0}
"""
    study = read(tmp_path, **{"  LR-Drop: {hidden: 0.1, output: 1, ramp: 5}\n": methods})
    found = plan.plan(jobs.Place(study, tmp_path, "cpu"), study.cells)
    begun = {job.name.split()[1]: job for job in found if isinstance(job, trainings.Training)}
    from_where = {
        name: job.begins_from and job.begins_from.name.split()[1] for name, job in begun.items()
    }
    assert from_where == {
        "toy/plain10-seed1": None,
        "toy/plain20-seed1": "toy/plain10-seed1",
        "toy/plain-seed1": "toy/plain20-seed1",
        "toy/late-seed1": "toy/plain20-seed1",
        "toy/early-seed1": "toy/plain10-seed1",
        "toy/form-seed1": "toy/plain20-seed1",
        "toy/plain20__dropout0_1-seed1": None,
        "toy/drop-seed1": "toy/plain20__dropout0_1-seed1",
        "toy/now-seed1": None,
    }
    updates = {name: job.cell.method.updates for name, job in begun.items()}
    assert updates["toy/plain10-seed1"] == 10 and updates["toy/plain20-seed1"] == 20
    assert {updates[name] for name in updates if "plain1" not in name and "plain2" not in name} == {
        30
    }
    # The same for a part of the cells.
    late = [cell for cell in study.cells if cell.method.name == "late"]
    part = plan.plan(jobs.Place(study, tmp_path, "cpu"), late)
    assert [job.name.split()[-1] for job in part] == [
        "toy", "toy/plain10-seed1", "toy/plain20-seed1", "toy/late-seed1", "toy/late-seed1"
    ]  # fmt: skip
    # Everything comes after what it needs.
    for position, job in enumerate(found):
        assert all(need in found[:position] for need in job.needs)


def test_a_beginning_of_many_flags_has_a_name_that_fits(tmp_path: Path) -> None:
    """No longer than 255 characters, as of all file systems; another one for other flags."""
    names = set()
    for layers in "12":
        flags = " ".join(f"--{side}-embed-path {'x' * 200}" for side in ("encoder", "decoder"))
        flags += f" --encoder-layers {layers}"
        study = read(tmp_path, **{"ramp: 5}": f"ramp: 5, flags: {flags}}}"})
        found = plan.plan(jobs.Place(study, tmp_path, "cpu"), study.cells)
        names |= {job.folder.name for job in found if job.name.startswith("begin ")}
    assert len(names) == 2
    assert all(len(name) < 100 for name in names)


def test_selected_pairs_are_the_same_in_every_language(tmp_path: Path) -> None:
    for language in ("de", "en", "cs"):
        (tmp_path / f"all.{language}").write_text("".join(f"{language}{i}\n" for i in range(50)))

    def select(count: int, *languages: str) -> list[list[str]]:
        select_pairs.select_pairs(tmp_path / "all", languages, count, tmp_path / "some")
        texts = [(tmp_path / f"some.{language}").read_text() for language in languages]
        return [[line[2:] for line in text.splitlines()] for text in texts]

    chosen = select(10, "de", "en")
    assert chosen[0] == chosen[1] == select(10, "en", "cs")[1]
    assert len(set(chosen[0])) == 10 and chosen[0] == sorted(chosen[0], key=int)
    assert set(chosen[0]) < set(select(20, "de", "en")[0])
    with pytest.raises(text_errors.TextError, match="has 50 pairs, and 51 are wanted"):
        select(51, "de", "en")
    (tmp_path / "all.cs").write_text("1\n")
    with pytest.raises(text_errors.TextError, match="50 lines in de, 1 in cs"):
        select(10, "de", "cs")


def test_tables_grow(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    assert merged_tables.read(path) == []
    merged_tables.merge(path, ["a"], [{"a": "2", "b": 'x "y"'}, {"a": "1", "b": "old"}])
    merged_tables.merge(path, ["a"], [{"a": "1", "b": "new", "c": "more"}])
    rows = merged_tables.read(path)
    assert rows == [{"a": "1", "b": "new", "c": "more"}, {"a": "2", "b": 'x "y"', "c": ""}]
    assert path.read_text() == 'a\tb\tc\n1\tnew\tmore\n2\tx "y"\t\n'


def test_a_cell_has_one_curve(tmp_path: Path) -> None:
    path, key = tmp_path / "t.tsv", ["cell", "update"]
    old = [{"cell": cell, "update": update} for cell in "ab" for update in "123"]
    merged_tables.merge(path, key, old)
    merged_tables.merge(path, key, [{"cell": "a", "update": "1"}], group=["cell"])
    rows = merged_tables.read(path)
    assert [row["cell"] + row["update"] for row in rows] == ["a1", "b1", "b2", "b3"]


def row(method: str, family: str, seed: int, scores: tuple[float, float], **more: str) -> Any:
    return {
        "data": "d", "method": method, "family": family, "seed": str(seed), "stopped": "",
        "variant": "", "updates": "6000", "best validation nll": "2.5", "seconds": "100",
        "checkpoint seconds": "90", "seconds per update": "0.1", "peak MiB": "7", "machine": "M",
        "workers": "2", "date": "today", "checkpoint": "best", "sacreBLEU signature": "S",
        "valid sacreBLEU": "1", "test sacreBLEU": str(scores[0]),
        "test1 sacreBLEU": str(scores[1]), **more,
    }  # fmt: skip


ORDER = ["plain", "longer", "wide", "R-Drop", "LR-Drop", "LR-Drop-wide"]


def lines_of(method: str, rows: Any, curve: Any = (), tests: Any = ()) -> list[dict[str, str]]:
    """A method's lines in the tables of rows that come by name, as from a file."""
    rows = sorted(rows, key=lambda row: (row["data"], row["method"], row["seed"]))
    found, head = [], []
    for line in study_report.report(rows, curve, tests, ORDER).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "method":
            head = cells
        elif cells[0] == method:
            found.append(dict(zip(head, cells)))
    return found


def test_table_by_hand() -> None:
    """Means over the test sets: plain 10 and 12, LR-Drop 13 and 16. The differences 3 and 4 have
    t = 3.5 / 0.5 = 7 with one degree of freedom: p = 2 / pi * atan(1/7) = 0.0903."""
    rows = [
        row("plain", "plain", 1, (8, 12)),
        row("plain", "plain", 2, (11, 13)),
        row("longer", "plain", 1, (40, 40), updates="9000"),
        row("LR-Drop", "lrdrop", 1, (12, 14)),
        row("LR-Drop", "lrdrop", 2, (15, 17)),
        row("LR-Drop", "lrdrop", 3, (1, 1), stopped="early", updates="100"),
    ]
    tests = [
        {"data": "d", "method": "LR-Drop", "baseline": "plain", "seed": seed, "subset": subset,
         "p BLEU": p}
        for seed, subset, p in (
            ("1", "test", "0.01"), ("1", "test1", "0.2"), ("2", "test", "0.03"), ("3", "test", "1")
        )
    ]  # fmt: skip
    line = lines_of("LR-Drop", rows, tests=tests)[0]
    assert line["seeds"] == "1, 2", "a training that was stopped early is in no mean"
    assert (line["test sacreBLEU"], line["test1 sacreBLEU"]) == ("13.50 ± 2.12", "15.50 ± 2.12")
    assert line["− plain"] == "+3.50 (p 0.090, n 2)", "not to the plain training of other length"
    assert line["bootstrap p to plain"] == "1: 0.010 0.200; 2: 0.030", "nor in a test"
    assert line["− R-Drop"] == ""
    text = study_report.report(rows, [], [], ORDER)
    assert "- d/LR-Drop-seed3: 100 updates" in text
    assert "sacreBLEU: `S`" in text and "M (--workers 2, today)" in text


def test_a_wider_model_is_compared_with_its_own_baseline() -> None:
    rows = [
        row("plain", "plain", 1, (8, 12)),
        row("wide", "plain", 1, (10, 14), variant="--wide"),
        row("LR-Drop-wide", "lrdrop", 1, (11, 14), variant="--wide"),
    ]
    assert lines_of("LR-Drop-wide", rows)[0]["− plain"] == "+0.50"


def test_rows_that_lack_a_test_set_or_a_seed_are_compared_on_what_there_is() -> None:
    """Of test alone, on the seed that both have: 12 - 8. Of two data sets: 4 and 2."""
    more = {"test1 sacreBLEU": ""}
    rows = [
        row("plain", "plain", 1, (8, 99)),
        row("plain", "plain", 2, (8, 99)),
        row("LR-Drop", "lrdrop", 1, (12, 0), **more),
        row("plain", "plain", 1, (8, 99), data="e"),
        row("LR-Drop", "lrdrop", 1, (10, 101), data="e"),
    ]
    one, _, other, _, both = lines_of("LR-Drop", rows)
    assert (both["score"], both["trainings"]) == ("sacreBLEU", "2")
    assert (one["− plain"], other["− plain"], both["− plain"]) == (
        "+4.00", "+2.00", "+3.00 (p 0.205, n 2)"
    )  # fmt: skip
    assert "test1 sacreBLEU" not in one and other["test1 sacreBLEU"] == "101.00"


def test_gains_of_a_study_of_length_penalties_are_told_with_penalty_1_too() -> None:
    """Mean of both sets: 10 and 13 with the chosen ones, 10 and 11 with 1; chrF 30 and 32."""

    def scored(method: str, family: str, chosen: float, one: float, chrf: float) -> Any:
        more = {f"{test} sacreBLEU, penalty 1": str(one) for test in ("test", "test1")}
        more |= {"length penalty": "2", "test chrF": str(chrf)}
        return row(method, family, 1, (chosen - 1, chosen + 1), **more)

    rows = [scored("plain", "plain", 10, 10, 30), scored("LR-Drop", "lrdrop", 13, 11, 32)]
    first, *_, chosen, chrf, one = lines_of("LR-Drop", rows)
    assert "test sacreBLEU, penalty 1" not in first and first["test sacreBLEU"] == "12.00"
    assert [(line["score"], line["− plain"]) for line in (chosen, chrf, one)] == [
        ("sacreBLEU", "+3.00"), ("chrF", "+2.00"), ("sacreBLEU, penalty 1", "+1.00")
    ]  # fmt: skip
    assert "where a score says so, 1" in study_report.report(rows, [], [], ORDER).replace("\n", " ")


def points(method: str, seed: int, *losses: float) -> list[dict[str, str]]:
    """Validation losses after 10 updates and 30 s each."""
    return [
        {"data": "d", "method": method, "seed": str(seed), "updates": str(10 * i),
         "seconds": str(30 * i), "validation nll": str(loss)}
        for i, loss in enumerate(losses, start=1)
    ]  # fmt: skip


def test_equal_wall_clock_looks_at_what_was_there_in_time() -> None:
    """LR-Drop took 100 s. By then plain had 2.4; the longer training had 2.3, and later 2.0."""
    rows = [
        row("plain", "plain", 1, (8, 12)),
        row("longer", "plain", 1, (9, 15), updates="9000", **{"checkpoint seconds": "120"}),
        row("LR-Drop", "lrdrop", 1, (12, 15)),
        row("R-Drop", "rdrop", 1, (12, 15), machine="another"),
    ]
    curve = points("plain", 1, 3, 2.4) + points("longer", 1, 3, 2.5, 2.3, 2.0)
    curve += points("R-Drop", 1, 1, 1)
    line = lines_of("LR-Drop", rows, curve)[1]
    assert (line["plain"], line["valid nll (plain)"]) == ("longer", "2.300")
    assert line["− plain"] == "", "its scored checkpoint came too late"
    assert line["R-Drop"] == "", "seconds of another machine are not compared"
    rows[1]["checkpoint seconds"] = "90"
    assert lines_of("LR-Drop", rows, curve)[1]["− plain"] == "1.50"


def test_equal_translations_are_no_difference(tmp_path: Path) -> None:
    """sacreBLEU's p-value of one is its smallest."""
    study = read(tmp_path)
    plan = KIND.plan(jobs.Place(study, tmp_path, "cpu"), study.cells)
    evaluations = [job for job in plan if isinstance(job, Evaluation)]
    for evaluation in evaluations:
        evaluation.folder.mkdir(parents=True)
        for subset in study.cells[0].data.subsets:
            (evaluation.folder / f"hyp.{subset}.en").write_text("The same.\n")
    ((found,),) = comparisons.compare(evaluations, [])
    assert (found["method"], found["p BLEU"], found["p chrF"]) == ("LR-Drop", "1.0000", "1.0000")
    assert not list(comparisons.compare(evaluations, [found]))


def test_equal_scores_are_no_difference(tmp_path: Path) -> None:
    """Of translations without a word of the reference: sacreBLEU says 0.001 there, too."""
    study = read(tmp_path)
    plan = KIND.plan(jobs.Place(study, tmp_path, "cpu"), study.cells)
    evaluations = [job for job in plan if isinstance(job, Evaluation)]
    signature = "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"
    for evaluation, words, value in zip(evaluations, ("a b", "no yes"), (0.5, 2.5), strict=True):
        evaluation.folder.mkdir(parents=True)
        for subset in study.cells[0].data.subsets:
            (evaluation.folder / f"hyp.{subset}.en").write_text(f"{words}\n" * 4)
            (evaluation.folder / f"ref.{subset}.en").write_text("Nobody sees it.\n" * 4)
            found = {"sacreBLEU": 0.0, "chrF": value}
            scores = [{"title": t, "value": v, "signature": signature} for t, v in found.items()]
            record = evaluation.folder / f"scores.{subset}.json"
            record.write_text(json.dumps({"scores": scores}))
    ((found,),) = comparisons.compare(evaluations, [])
    assert found["p BLEU"] == "1.0000" and float(found["p chrF"]) < 1


def test_tests_that_fail_or_are_too_late_are_an_exit_status(tmp_path: Path) -> None:
    def compare(*_: object) -> Iterator[list[dict[str, str]]]:
        yield [dict.fromkeys(comparisons.KEY, "1")]
        if late:
            yield [dict.fromkeys(comparisons.KEY, "3")]
        raise RuntimeError("compare.sh failed")

    late = False
    place = jobs.Place(read(tmp_path), tmp_path, "cpu")
    tested = tables.Tables(place, dataclasses.replace(KIND, compare=compare), 1, "machine")
    assert tested.compare([], lambda: 1) == 1
    late = True
    assert tested.compare([], lambda: 0) == 3
    one = dataclasses.replace(
        KIND, compare=lambda *_: iter([[dict.fromkeys(comparisons.KEY, "2")]])
    )
    last = tables.Tables(place, one, 1, "machine")
    assert last.compare([], lambda: 0) == 0, "there is no further one"
    none = tables.Tables(place, dataclasses.replace(KIND, compare=None), 1, "machine")
    assert none.compare([], lambda: 1) == 0


def test_a_source_that_is_away_for_a_while_is_remembered(tmp_path: Path) -> None:
    class FromFile(jobs.Job):
        settings = "settings"

        def sources(self) -> list[Path]:
            return [text]

    text = tmp_path / "text.gz"
    job = FromFile("job", jobs.Place(read(tmp_path), tmp_path, "cpu"), tmp_path / "made")
    job.folder.mkdir()
    for content in (gzip.compress(b"one"), None, gzip.compress(b"one")[:-4], gzip.compress(b"one")):
        jobs.digest.cache_clear()
        if content is None:
            text.unlink()
        else:
            text.write_bytes(content)
        job.check()
    jobs.digest.cache_clear()
    text.write_bytes(gzip.compress(b"two"))
    with pytest.raises(ValueError, match="made was made of other files than there are now"):
        job.check()


class TranslatesAtOnce:
    """Scores, by their length penalties, as the scripts leave them."""

    def __init__(self, scores: dict[str, float]) -> None:
        self.scores, self.evaluated = scores, list[tuple[str, str, str]]()

    def run(self, job: jobs.Job, command: list[str | Path]) -> None:
        words = list(map(str, command))
        output = Path(words[words.index("--output") + 1])
        if words[0].endswith("/length_penalty.sh"):
            penalties = words[words.index("--penalties") + 1].split(",")
            for penalty in penalties:
                self.write(output / penalty, "valid", penalty)
            length_penalty.choose(output, penalties)
        else:
            subset = words[words.index("--subset") + 1]
            self.write(output, subset, words[words.index("--lenpen") + 1])
            self.evaluated.append((subset, words[words.index("--lenpen") + 1], output.name))

    def write(self, folder: Path, subset: str, penalty: str) -> None:
        score = {"value": self.scores[penalty], "title": "T", "signature": "S", "details": ""}
        folder.mkdir(parents=True, exist_ok=True)
        found = {"flags": f"--lenpen {penalty}", "scores": [score]}
        (folder / f"scores.{subset}.json").write_text(json.dumps(found))


def test_each_training_takes_the_length_penalty_of_its_best_validation_score(
    tmp_path: Path,
) -> None:
    """Of equal ones the first."""
    penalties = "length_penalties: [1, 2, 1.50]"
    study = read(tmp_path, **{"updates: 30": f"updates: 30\n{penalties}"})
    place = jobs.Place(study, tmp_path, "cpu")
    job = KIND.plan(place, study.cells[:1])[-1]
    assert isinstance(job, Evaluation)
    assert study.settings(job.cell).endswith("; length penalty 1 or 2 or 1.5")
    job.training.folder.mkdir(parents=True)
    (job.training.folder / "checkpoint_best.pt").touch()
    for first, best in ((20.0, "2"), (26.0, "1")):
        commands: Any = TranslatesAtOnce({"1": first, "2": 25.0, "1.5": 25.0})
        left = job.folder / "length_penalty" / best / ".generate.valid.here.1"  # by a killed run
        left.mkdir(parents=True)
        job.score(commands)
        with_1 = [("test", "1", "penalty_1")] if best != "1" else []
        assert commands.evaluated == [("test", best, "eval"), *with_1]
        assert job.length_penalty == best
        assert job.scores("test")["scores"][0]["value"] == max(first, 25)
        assert job.scores_with_penalty_1("test")["scores"][0]["value"] == first
        assert job.scores("valid")["scores"][0]["value"] == max(first, 25)


def test_curves_are_drawn(tmp_path: Path) -> None:
    drawn = [p for m in ("plain", "LR-Drop") for i in (1, 2) for p in points(m, i, 9, 5 + i, 4)]
    curves.draw(drawn, ["plain", "LR-Drop", "absent"], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_rows_of_cells_that_the_study_does_not_have_are_in_no_table_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = jobs.Place(read(tmp_path), tmp_path, "cpu")
    others = [
        row("gone", "plain", 1, (8, 12), settings=""),
        row("plain", "plain", 77, (8, 12), data="toy", settings=""),
    ]
    merged_tables.merge(tmp_path / "results.tsv", rows.KEY, others)
    merged_tables.merge(tmp_path / "curves.tsv", rows.CURVE_KEY, points("gone", 1, 3, 2.4))
    found = tables.Tables(place, KIND, 1, "here")
    assert found.complete() == set()
    assert found.write() == "No cell is complete yet.\n"
    assert found.files() == ["curves.tsv", "results.tsv", "table.md"]
    assert "no such cells: d/gone/1, toy/plain/77" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("results.tsv", "data\tmethod\tseed\nb", "results.tsv has no column settings, stopped"),
        ("results.tsv", "", "results.tsv has no column data, method, seed, settings, stopped"),
        ("results.tsv", "data\tmethod\tseed\tsettings\tstopped\n"
         "b\tplain\t1\t\t\nb\tplain\t1", "line 3: not as many values"),
        ("results.tsv", "data\tmethod\tseed\tsettings\tstopped\nb\tplain\t1\t\t\t\n",
         "line 2: not as many values"),
        ("results.tsv", "data\tmethod\tseed\tsettings\tstopped\n" + 2 * "b\tplain\t1\t\t\n",
         "has b plain 1 twice, in lines 2 and 3"),
        ("curves.tsv", "data\tmethod\tseed\tupdates\n" + 2 * "b\tplain\t1\t10\n",
         "has b plain 1 10 twice"),
        ("comparisons.tsv", "data\n", "has no column baseline"),
    ],
)  # fmt: skip
def test_damaged_files_of_rows_are_refused(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    """Two machines may have trained the same cell: counted twice it would make n too large."""
    (tmp_path / name).write_text(text)
    found = tables.Tables(jobs.Place(read(tmp_path), tmp_path, "cpu"), KIND, 1, "here")
    with pytest.raises(ValueError, match=message):
        found.complete()


def run_study(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [str(STUDY / "run.sh"), *map(str, arguments)]
    environment = {**toy.ENVIRONMENT, **environment}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no study given"),
        (["a", "b"], "one study only: 'a', then 'b'"),
        (["a", "--workers", "0"], "--workers must be a whole number"),
        (["a", "--device", "tpu"], "--device is cpu or cuda, not 'tpu'"),
        (["a", "--time-limit", "soon"], "--time-limit is a number of minutes"),
        (["a", "--fast"], "unknown option --fast"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str) -> None:
    done = run_study(*arguments)
    assert done.returncode == 2
    assert message in done.stderr and "Usage: examples/translation/study/run.sh" in done.stderr


def test_what_cannot_be_run_is_refused_in_words(tmp_path: Path) -> None:
    done = run_study(tmp_path / "none.yaml")
    assert done.returncode == 1 and "no such file" in done.stderr
    # The device is looked for last, and takes longest.
    here = ("--output", tmp_path / "out", "--device", "cpu")
    done = run_study(write_study(tmp_path), "--only", "x*", *here)
    assert done.returncode == 1
    assert "--only 'x*' matches no cell; there are toy/plain-seed1, toy/LR-Drop" in done.stderr
    # A folder that is named like a study of the project, as its data may be, is not taken for it.
    (tmp_path / "size").mkdir()
    done = run_study("size", "--only", "x*", *here, cwd=tmp_path)
    assert "matches no cell; there are" in done.stderr and "10k/plain-seed1" in done.stderr
    if not torch.cuda.is_available():
        done = run_study(write_study(tmp_path), "--device", "cuda", "--output", tmp_path / "out")
        assert done.returncode == 1 and "torch sees no CUDA device" in done.stderr


def rows_of(output: Path) -> dict[str, Any]:
    return {row["method"]: row for row in merged_tables.read(output / "results.tsv")}


def parameters(folder: Path) -> Any:
    return load_checkpoint_to_cpu(str(folder / "checkpoint_last.pt"))["model"]


class Killed(NamedTuple):
    """A study of two cells that was killed twice and then ran to its end."""

    folder: Path
    command: list[str]
    output: Path
    last: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Killed in the beginning and in a cell, which goes on as an orphan."""
    folder = tmp_path_factory.mktemp("killed study")
    toy.write_texts(folder)
    output = folder / "out"
    command = [str(write_study(folder)), "--output", str(output), "--workers", "2"]
    for said in ("begin toy/plain20-seed1: starts", "train toy/LR-Drop-seed1: starts"):
        kill_when(said, [str(STUDY / "run.sh"), *command], env={**toy.ENVIRONMENT, **KILLED})
    return Killed(folder, command, output, run_study(*command))


def test_a_killed_study_goes_on(killed: Killed, tmp_path: Path) -> None:
    """Nothing is lost, and the cell equals a training that was never interrupted, bit for bit."""
    done, output = killed.last, killed.output
    assert done.returncode == 0, done.stderr
    assert "begin toy" not in done.stderr, "the beginning was complete"
    rows = rows_of(output)
    assert {row["updates"] for row in rows.values()} == {"30"}
    assert {row["stopped"] for row in rows.values()} == {""}
    assert rows["plain"]["valid sacreBLEU"] and rows["LR-Drop"]["test chrF"]
    assert "| LR-Drop  | 1" in done.stdout and (output / "curves.png").is_file()
    compared = merged_tables.read(output / "comparisons.tsv")
    assert [(row["method"], row["baseline"], row["subset"]) for row in compared] == [
        ("LR-Drop", "plain", "test")
    ]
    curve = [row for row in merged_tables.read(output / "curves.tsv") if row["method"] == "plain"]
    assert [row["updates"] for row in curve] == ["10", "20", "30"]

    subprocess.run(
        [str(ROOT / "scripts" / "train.sh"), str(output / "data" / "toy"), "--method", "lrdrop",
         "--preset", "multi30k", "--save-dir", str(tmp_path / "whole"), "--", *FLAGS.split(),
         "--cpu", "--max-update=30", "--lr-drop-start=20", "--lr-drop-ramp=5",
         "--lr-drop-hidden-weight=0.1", "--lr-drop-attention-weight=0", "--no-epoch-checkpoints",
         "--lr-drop-output-weight=1", "--validate-interval=1000000"],
        env=toy.ENVIRONMENT, check=True, capture_output=True,
    )  # fmt: skip
    ours, whole = (
        parameters(output / "cells" / "toy" / "LR-Drop-seed1"),
        parameters(tmp_path / "whole"),
    )
    assert all(torch.equal(ours[name], whole[name]) for name in whole)
    plain = parameters(output / "cells" / "toy" / "plain-seed1")
    assert not all(torch.equal(plain[name], whole[name]) for name in whole)


def test_a_complete_study_is_left_alone_and_another_one_is_refused(killed: Killed) -> None:
    folder, output = killed.folder, killed.output
    rows = rows_of(output)
    again = run_study(*killed.command)
    assert again.returncode == 0 and "2 cells, 2 of them complete" in again.stderr
    assert "starts" not in again.stderr

    def refused(old: str, new: str, *only: str) -> str:
        write_study(folder, **{old: new})
        done = run_study(*killed.command, *only)
        assert done.returncode == 1 and "other settings" in done.stderr
        return done.stderr

    changed = "hidden: 0.1", "hidden: 0.2"
    assert "has toy/LR-Drop-seed1 with other" in refused(*changed)
    # Its row would be in the table, whichever cells are asked for.
    assert "has toy/LR-Drop-seed1 with other" in refused(*changed, "--only", "toy/plain-*")
    (output / "results.tsv").unlink()
    assert f"{output}/beginnings/toy/plain20-seed1 was made" in refused("--lr 0.003", "--lr 0.004")
    assert f"{output}/data/toy was made" in refused("vocab_size: 50", "vocab_size: 49")
    write_study(folder)
    assert run_study(*killed.command).returncode == 0
    for method, row in rows_of(output).items():
        assert row == rows[method] | {"date": row["date"]}, "from what is there"
    text = folder / "test.en"
    content = text.read_bytes()
    text.write_bytes(content + b"one more\n")
    done = run_study(*killed.command)
    assert done.returncode == 1 and f"{output}/data/toy was made of other files" in done.stderr
    assert str(text) in done.stderr
    text.unlink()
    Path(f"{text}.gz").write_bytes(gzip.compress(content))
    assert run_study(*killed.command).returncode == 0, "the same text"
    Path(f"{text}.gz").unlink()
    assert run_study(*killed.command).returncode == 0, "the text is no longer needed"
    text.write_bytes(content)


FAKE_TRAIN = """#!/bin/bash
# What fairseq-train leaves behind at once; then it fails, or trains for ever.
while [[ $# -gt 0 ]]; do
    case "$1" in --save-dir) save_dir="$2" ;; --seed) seed="$2" ;; esac
    shift
done
cp "$CHECKPOINT" "$save_dir/checkpoint_best.pt"
cat "$LOG"
case "$seed$ENDS" in 2) echo "no memory is left" >&2; exit 1 ;; 3) exec sleep 1000 ;; esac
"""
FAKE_GENERATE = """#!/bin/bash
for ((i = 0; i < 20; i++)); do printf 'H-%d\\t-0.1\\t\\xe2\\x96\\x81a\\n' "$i"; done
"""
LOG = """
2024-01-01 00:00:00 | INFO | fairseq_cli.train | num. shared model params: 1,234 (num. trained: 1)
2024-01-01 00:00:00 | INFO | train_inner | {"num_updates": "10", "ups": "4"}
2024-01-01 00:00:00 | INFO | valid | {"valid_num_updates": "10", "valid_nll_loss": "3.5"}
"""


@pytest.fixture
def fake(tmp_path: Path, killed: Killed) -> dict[str, str]:
    """An environment in which seed 2 fails and seed 3 trains for ever, once they have begun."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in {"fairseq-train": FAKE_TRAIN, "fairseq-generate": FAKE_GENERATE}.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    (tmp_path / "log").write_text(LOG)
    return {
        "PATH": f"{folder}{os.pathsep}{toy.ENVIRONMENT['PATH']}",
        "LOG": str(tmp_path / "log"),
        "ENDS": "",
        "CHECKPOINT": str(killed.output / "cells" / "toy" / "plain-seed1" / "checkpoint_best.pt"),
    }


def seeds(folder: Path, list_of_seeds: str, killed: Killed) -> list[str]:
    """The arguments of a study of these seeds, on one worker, whose data are prepared."""
    path = write_study(
        folder,
        **{
            "FOLDER": str(killed.folder),
            "start: 20": f"seeds: {list_of_seeds}",
            "  plain: {}\n": "",
        },
    )
    shutil.copytree(killed.output / "data" / "toy", folder / "out" / "data" / "toy")
    return [str(path), "--output", str(folder / "out"), "--workers", "1"]


def test_a_failed_cell_is_named_and_the_others_go_on(
    tmp_path: Path, killed: Killed, fake: dict[str, str]
) -> None:
    output = tmp_path / "out"
    done = run_study(*seeds(tmp_path, "[2, 1]", killed), **fake)
    assert done.returncode == 1
    assert "train toy/LR-Drop-seed2: FAILED" in done.stderr
    assert "    no memory is left" in done.stderr
    assert "FAILED train toy/LR-Drop-seed2" in done.stderr.splitlines()[-1]
    assert [row["seed"] for row in merged_tables.read(output / "results.tsv")] == ["1"]


# The runner with an hour's limit, which is over as soon as there is the file that is named first.
HURRIED = """
import sys, time, types
from pathlib import Path
from examples.study import run_study, schedule

file = Path(sys.argv.pop(1))
sys.argv += ["--time-limit", "60"]
monotonic = lambda: time.monotonic() + 3600 * file.is_file()
schedule.time = types.SimpleNamespace(monotonic=monotonic)
sys.exit(run_study.main())
"""


def test_when_the_time_is_up_what_there_is_is_scored(
    tmp_path: Path, killed: Killed, fake: dict[str, str]
) -> None:
    """The training would go on for ever, and another one is not started."""
    arguments = seeds(tmp_path, "[3, 1]", killed)
    checkpoint = tmp_path / "out" / "cells" / "toy" / "LR-Drop-seed3" / "checkpoint_best.pt"
    done = subprocess.run(
        [sys.executable, "-c", HURRIED, checkpoint, *arguments, "--device", "cpu"],
        env={**toy.ENVIRONMENT, **fake}, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "the time is up" in done.stderr
    (row,) = merged_tables.read(tmp_path / "out" / "results.tsv")
    assert (row["seed"], row["stopped"], row["updates"]) == ("3", "early", "10")
    assert "stopped early: train toy/LR-Drop-seed3, train toy/LR-Drop-seed1" in done.stderr
    # Given again where it comes to its end, it is done in full.
    fake["ENDS"] = "yes"
    again = run_study(*arguments, **fake)
    assert again.returncode == 0 and "2 cells, 0 of them complete" in again.stderr
    rows = merged_tables.read(tmp_path / "out" / "results.tsv")
    assert [(row["seed"], row["stopped"]) for row in rows] == [("1", ""), ("3", "")]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_a_second_runner_is_refused_and_an_ended_one_leaves_nothing_running(
    tmp_path: Path, killed: Killed, fake: dict[str, str], ending: signal.Signals
) -> None:
    """By SIGHUP, too, unless it was started with nohup, which has it ignored."""
    hangups = signal.SIG_DFL if ending == signal.SIGHUP else signal.SIG_IGN
    arguments = seeds(tmp_path, "[3]", killed)
    first = subprocess.Popen(
        [str(STUDY / "run.sh"), *arguments],
        preexec_fn=lambda: signal.signal(signal.SIGHUP, hangups),
        env={**toy.ENVIRONMENT, **fake}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert first.stderr is not None
    assert any("train toy/LR-Drop-seed3: starts" in line for line in first.stderr)
    second = run_study(*arguments, **fake)
    assert second.returncode == 1 and "another runner works in" in second.stderr
    cell = tmp_path / "out" / "cells" / "toy" / "LR-Drop-seed3"
    wait_for(lambda: (cell / "checkpoint_best.pt").is_file())
    with cell.with_name(".LR-Drop-seed3.lock").open() as lock:
        assert not is_free(lock)
        if hangups == signal.SIG_IGN:
            first.send_signal(signal.SIGHUP)
            with pytest.raises(subprocess.TimeoutExpired):
                first.wait(timeout=3)
        first.send_signal(ending)
        first.stderr.read()
        assert first.wait() == 128 + ending
        wait_for(lambda: is_free(lock))


def test_a_training_holds_its_lock_by_itself(tmp_path: Path) -> None:
    """Whatever between it and the runner is killed: a second one in its folder ends it first."""
    lock, log = tmp_path / "lock", tmp_path / "log"
    measured = [sys.executable, STUDY.parent / "records" / "measure.py", tmp_path / "memory.json"]
    held = [sys.executable, RUNNER / "held.py", lock]
    first = subprocess.Popen(
        [*held, *measured, "sh", "-c", f"echo $$ >{log}; exec sleep 1000"],
        env={**os.environ, **KILLED}, start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: log.is_file() and log.read_text().endswith("\n"))
    first.kill()
    first.wait()
    with lock.open() as file:
        assert not is_free(file)
    done = subprocess.run(
        [*map(str, held), "echo", "second"], capture_output=True, text=True, start_new_session=True
    )
    assert done.stdout == "second\n" and "left by a killed runner" in done.stderr
    status = Path(f"/proc/{log.read_text().strip()}/stat")
    assert not status.is_file() or status.read_text().split()[2] == "Z"


def is_free(lock: Any) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(lock, fcntl.LOCK_UN)
    return True


def wait_for(happened: Callable[[], bool]) -> None:
    for _ in range(1200):
        if happened():
            return
        time.sleep(0.1)
    pytest.fail("waited two minutes")
