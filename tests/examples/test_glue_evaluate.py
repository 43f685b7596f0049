"""The metrics by hand, the summary over seeds, the plot, and the small run from end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fairseq.data import Dictionary

from examples import figures
from examples.language_understanding import evaluate as glue_evaluate
from examples.language_understanding import (
    predict_subset,
    seed_plot,
    seed_summary,
    sentence_tasks,
    task_metrics,
)

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "language_understanding"


def scores(task: str, predicted: str, labels: str) -> dict[str, float | None]:
    found: dict[str, float | None] = task_metrics.scores(
        sentence_tasks.read_task(task), predicted.split(), labels.split()
    )
    return found


def test_matthews() -> None:
    """TP 2, TN 1, FP 1, FN 1: (2*1 - 1*1) / sqrt(3 * 3 * 2 * 2) = 1/6."""
    found = scores("CoLA", "1 1 1 0 0", "1 1 0 1 0")
    assert found == {"mcc": pytest.approx(100 / 6)}


def test_accuracy_and_f1() -> None:
    """TP 2, TN 1, FP 1, FN 1: accuracy 3/5; F1 of the class 1: 2*2 / (2*2 + 1 + 1) = 2/3."""
    for task in ("MRPC", "QQP"):
        found = scores(task, "1 1 1 0 0", "1 1 0 1 0")
        assert found["accuracy"] == pytest.approx(60)
        assert found["f1"] == pytest.approx(200 / 3)
        assert found["acc_and_f1"] == pytest.approx((60 + 200 / 3) / 2)
    assert scores("MRPC", "0 0", "1 0")["f1"] == 0


def test_accuracy() -> None:
    """Labels are names: two of three."""
    found = scores("MNLI", "neutral entailment neutral", "neutral entailment contradiction")
    assert found == {"accuracy": pytest.approx(200 / 3)}


def test_correlations() -> None:
    """x = 1 2 3 4, y = 1 3 2 5: means 2.5 and 2.75, covariance sum 5.5, squares 5 and 8.75;
    ranks 1 2 3 4 and 1 3 2 4: Spearman 1 - 6*2/(4*15) = 0.8."""
    found = scores("STS-B", "1 2 3 4", "1 3 2 5")
    pearson = 100 * 5.5 / (5 * 8.75) ** 0.5
    assert found["pearson"] == pytest.approx(pearson)
    assert found["spearman"] == pytest.approx(80)
    assert found["pearson_and_spearman"] == pytest.approx((pearson + 80) / 2)


@pytest.mark.parametrize("predicted", ["2 2 2", "2 nan 1", "2 inf 1"])
def test_equal_or_infinite_predictions_have_no_correlation(predicted: str) -> None:
    found = scores("STS-B", predicted, "1 3 2")
    assert found == {"pearson_and_spearman": None, "pearson": None, "spearman": None}


def test_every_task_gives_what_chooses_its_checkpoint() -> None:
    for name, task in sentence_tasks.read_tasks().items():
        labels = "0 1 0 2" if task.regression else " ".join([*task.labels, *task.labels[:2]])
        assert next(iter(scores(name, labels, labels).items())) == (task.metric, 100)


def write_scores(
    folder: Path, values: dict[int, dict[str, float | None]], task: str = "CoLA", **more: str
) -> Path:
    """FOLDER/seedN/scores.valid.json as evaluate.py writes them."""
    base = {"task": task, "subset": "valid", "arch": "a", "method": "plain", "flags": ""}
    base["model"] = "/m.pt"
    for seed, found in values.items():
        path = folder / f"seed{seed}" / "scores.valid.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({**base, **more, "seed": seed, "scores": found}))
    return folder


def test_summary(tmp_path: Path) -> None:
    """1 2 4 8 16: median 4, quartiles 2 and 8; the tasks in the order of tasks.tsv."""
    values: list[float] = [16, 2, 8, 1, 4]
    first = write_scores(
        tmp_path / "b", {seed: {"mcc": value} for seed, value in enumerate(values)}
    )
    other = write_scores(tmp_path / "a", {1: {"accuracy": 50.0}}, "RTE", method="lrdrop")
    table = seed_summary.rows(seed_summary.read_scores([other, first]))
    assert [dict(zip(seed_summary.HEADER, row)) for row in table] == [
        {
            "task": "CoLA",
            "subset": "valid",
            "metric": "mcc",
            "model": "a",
            "method": "plain",
            "seeds": "5",
            "median": "4.00",
            "min": "1.00",
            "max": "16.00",
            "quartiles": "2.00 to 8.00",
            "undefined": "0",
        },
        {
            "task": "RTE",
            "subset": "valid",
            "metric": "accuracy",
            "model": "a",
            "method": "lrdrop",
            "seeds": "1",
            "median": "50.00",
            "min": "50.00",
            "max": "50.00",
            "quartiles": "-",
            "undefined": "0",
        },
    ]
    text = seed_summary.as_text(table)
    assert "A row of one seed says little" in text and "quartiles" in text
    assert seed_summary.as_tsv(table).splitlines()[1].split("\t") == list(table[0])


def test_summary_counts_undefined_scores_apart(tmp_path: Path) -> None:
    values: dict[int, dict[str, float | None]] = {1: {"mcc": 10.0}, 2: {"mcc": None}}
    row = seed_summary.rows(seed_summary.read_scores([write_scores(tmp_path, values)]))[0]
    assert row[-6:] == ("2", "10.00", "10.00", "10.00", "-", "1")


def test_summary_keeps_settings_apart(tmp_path: Path) -> None:
    """Runs that differ by flags or checkpoint are no seeds of one another; no run counts twice."""
    one = write_scores(tmp_path / "one", {1: {"mcc": 1.0}}, flags="--lr 1")
    other = write_scores(tmp_path / "other", {1: {"mcc": 3.0}}, flags="--lr 2")
    table = seed_summary.rows(seed_summary.read_scores([one, other]))
    assert [row[4] for row in table] == ["plain --lr 1", "plain --lr 2"]
    mnli = write_scores(tmp_path / "mnli", {2: {"mcc": 5.0}}, flags="--lr 1", model="/mnli.pt")
    table = seed_summary.rows(seed_summary.read_scores([one, mnli]))
    assert [(row[4], row[6]) for row in table] == [
        ("plain /m.pt", "1.00"),
        ("plain /mnli.pt", "5.00"),
    ]
    twin = write_scores(tmp_path / "twin", {1: {"mcc": 3.0}}, flags="--lr 2")
    with pytest.raises(sentence_tasks.TaskError, match="same run and seed"):
        seed_summary.read_scores([other, twin])
    (twin / "seed1" / "scores.valid.json").write_text('{"task": "RTE"')
    with pytest.raises(sentence_tasks.TaskError, match="not what evaluate.py writes"):
        seed_summary.read_scores([twin])
    with pytest.raises(sentence_tasks.TaskError, match="run evaluate.py score first"):
        (tmp_path / "empty").mkdir()
        seed_summary.read_scores([tmp_path / "empty"])


def test_plot_shows_every_seed_and_the_median(tmp_path: Path) -> None:
    values: list[float] = [16, 2, 8, 1]
    folder = write_scores(
        tmp_path / "a", {seed: {"mcc": value} for seed, value in enumerate(values)}
    )
    none = write_scores(tmp_path / "b", {1: {"mcc": None}}, method="lrdrop")
    figure = seed_plot.draw(seed_summary.read_scores([folder, none]))
    dots, median = figure.axes[0].lines[:2]
    assert sorted(dots.get_ydata()) == [1, 2, 8, 16] and len(set(dots.get_xdata())) == 4
    assert list(median.get_ydata()) == [5, 5]
    figures.save(figure, tmp_path / "seeds.png")
    assert (tmp_path / "seeds.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "seeds.part").exists()


def test_without_matplotlib_there_is_a_table_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_scores(tmp_path / "a", {1: {"mcc": 12.5}})
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "examples.language_understanding.seed_plot")
    arguments = ["evaluate.py", "summarize", str(folder), "--output", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", arguments)
    assert glue_evaluate.main() == 0  # the table is what was wanted, and is there
    captured = capsys.readouterr()
    assert "12.50" in captured.out and "install.sh --plots" in captured.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["summary.tsv"]


def test_mnli_is_scored_on_both_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored = []
    monkeypatch.setattr(
        predict_subset,
        "evaluate_seed",
        lambda folder, data, subset, force: scored.append((folder.name, subset)),
    )
    for seed in (10, 2):  # in the order of the numbers
        folder = tmp_path / f"seed{seed}"
        folder.mkdir()
        record = {"task": "MNLI", "method": "plain", "finished": True}
        (folder / "finetune.json").write_text(json.dumps(record))
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "score", "data", str(tmp_path)])
    assert glue_evaluate.main() == 0
    both = ["valid", "valid1"]
    assert scored == [(seed, subset) for seed in ("seed2", "seed10") for subset in both]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "score", "data", str(tmp_path / "seed2")])
    assert glue_evaluate.main() == 1  # no seedN in it


@pytest.mark.parametrize("name", sentence_tasks.read_tasks())
def test_predictions_are_in_the_range_of_the_task(name: str) -> None:
    """Labels of the task, or numbers within its limits, whatever the model gives."""
    task = sentence_tasks.read_task(name)
    dictionary = Dictionary()
    for label in task.labels:
        dictionary.add_symbol(label)
    fairseq_task = SimpleNamespace(label_dictionary=dictionary)

    def predicted(*logits: list[float]) -> list[str]:
        values = predict_subset.answer(lambda **_: (torch.tensor(logits), None))
        found: list[str] = predict_subset._answers(task, fairseq_task, values)
        return found

    if task.regression:
        expected = ["0.000000", "0.000000", "2.500000", "5.000000", "5.000000"]
        assert predicted([-0.2], [-1e-9], [0.5], [1.0], [1.3]) == expected
    else:
        rows = (1e9 * torch.eye(task.classes)).tolist()
        assert predicted(*rows) == list(task.labels)
    with pytest.raises(sentence_tasks.TaskError, match="not finite"):
        predicted([float("nan")] * task.classes)


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    fixed = {"VIRTUAL_ENV": sys.prefix, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore", **fixed}


def fields(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """run_small.sh with a regression, two methods, two seeds."""
    output = tmp_path_factory.mktemp("small") / "out put"
    command = [str(EXAMPLE / "run_small.sh"), "--output", str(output), "--tasks", "STS-B"]
    done = subprocess.run(
        [*command, "--updates", "100"], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return output


def test_small_run_from_corpora_to_table(small_run: Path) -> None:
    rows = fields(small_run / "summary.tsv")
    assert [row[2] for row in rows[1:4]] == ["pearson_and_spearman", "pearson", "spearman"]
    assert [row[4:6] for row in rows[1:]] == [["plain", "2"]] * 3 + [["lrdrop", "2"]] * 3
    assert (small_run / "seeds.png").is_file()
    assert float(rows[1][6]) > 50  # the plain model has learned


def test_small_run_has_the_scores_of_the_log_and_of_the_predictions(
    small_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = small_run / "checkpoints" / "STS-B" / "plain" / "seed2"
    scored = json.loads((seed / "scores.valid.json").read_text())
    record = json.loads((seed / "finetune.json").read_text())
    task = sentence_tasks.read_task("STS-B")
    with monkeypatch.context() as patched:  # fairseq scores what the model says, without limits
        patched.setattr(sentence_tasks.Task, "limits", (-1e9, 1e9))
        patched.setattr(sentence_tasks.Task, "scale", 5.0)
        data = small_run / "data" / "STS-B"
        found = predict_subset.predict(seed / "checkpoint_best.pt", data, task, "valid")
    said = task_metrics.scores(task, found.predicted, found.labels)
    # fairseq rounds to a tenth
    assert said["pearson_and_spearman"] == pytest.approx(record["best_score"], abs=0.051)
    assert scored["num_updates"] == record["best_update"] and scored["examples"] == 200
    table = fields(seed / "predictions.valid.tsv")
    assert table[0] == ["index", "prediction", "label"] and len(table) == 201
    _, predicted, labels = zip(*table[1:])
    limited = [min(max(0.0, float(number)), 5.0) for number in found.predicted]
    assert [float(number) for number in predicted] == limited
    raw = [float(row[-1]) for row in fields(small_run / "raw" / "STS-B" / "dev.tsv")[1:]]
    assert [float(label) for label in labels] == pytest.approx(raw)
    assert scores("STS-B", " ".join(predicted), " ".join(labels)) == pytest.approx(scored["scores"])


def test_small_run_scored_again(
    small_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is complete is left; a test set has predictions alone; what is refused."""
    folder = small_run / "checkpoints" / "STS-B" / "plain"

    def score(*more: str) -> int:
        arguments = ["evaluate.py", "score", str(small_run / "data"), str(folder), *more]
        monkeypatch.setattr(sys, "argv", arguments)
        status: int = glue_evaluate.main()
        return status

    assert score() == 0
    assert "seed1, valid: complete" in capsys.readouterr().out
    names = small_run / "data" / "STS-B" / "ids" / "test.txt"
    text = names.read_text()
    assert text == "".join(f"{number}\n" for number in range(200))
    names.write_text("".join(f"{number}\n" for number in (*range(3), *range(4, 201))))
    described = small_run / "data" / "STS-B" / "prepare.json"
    whole = described.read_text()
    facts = json.loads(whole)
    facts["subsets"]["test"]["dropped_lines"] = [5]
    described.write_text(json.dumps(facts))
    assert score("--subset", "test") == 0
    said = "200 predictions (no labels); none for 1 broken lines of test.tsv: 5\n"
    assert said in capsys.readouterr().out
    seed = folder / "seed2"
    header, *rows = fields(seed / "predictions.test.tsv")
    assert (
        header == ["index", "prediction"] and [row[0] for row in rows] == names.read_text().split()
    )
    assert all(0 <= float(row[1]) <= 5 for row in rows)
    names.write_text(text[2:])
    assert score("--subset", "test", "--force") == 1
    assert "test.txt has not a line for each example" in capsys.readouterr().err
    names.unlink()
    assert score("--subset", "test", "--force") == 1
    assert "test.txt does not exist: prepare" in capsys.readouterr().err
    names.write_text(text)
    described.write_text(whole)
    assert not (seed / "scores.test.json").exists()
    assert score("--subset", "valid1") == 1
    assert "has no subset 'valid1'" in capsys.readouterr().err
    record = json.loads((seed / "finetune.json").read_text())
    (seed / "finetune.json").write_text(json.dumps({**record, "finished": False}))
    assert score() == 1
    captured = capsys.readouterr()
    assert f"not finished: {seed}" in captured.err and "seed1, valid: complete" in captured.out
