"""Paired bootstrap tests against the translations of plain training and of R-Drop, by seed."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from examples.study.jobs import SCRIPTS
from examples.study.merged_tables import Row
from examples.study.presets.evaluations import Evaluation
from examples.study.rows import key
from examples.study.translation.data import data_of

KEY = ("data", "seed", "method", "baseline", "subset")
# As sacreBLEU writes them: of each system BLEU's, then chrF's.
P_VALUE = re.compile(r"\(p = ([\d.]+)\)")


def compare(evaluations: Sequence[Evaluation], known: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows of all tests that can be made of what is translated here, and are not known.

    A test is of one baseline and one system on one test set; of each baseline and test set all
    systems at once. A translation that has changed since is tested anew.

    Raises:
        RuntimeError: scripts/compare.sh failed.
    """
    before = {_name(row): row["translations"] for row in known}
    here = [e for e in evaluations if all(_hypothesis(e, s).is_file() for s in e.cell.data.subsets)]
    for baseline in here:
        for subset in baseline.cell.data.subsets[1:]:  # not the validation set
            new = []
            for system in here:
                if _opposed(baseline, system):
                    row = _row(baseline, system, subset)
                    if before.get(_name(row)) == row["translations"]:
                        continue
                    if len(set(row["translations"].split())) == 1:  # no difference to be tested
                        yield [row | {"p BLEU": "1.0000", "p chrF": "1.0000"}]
                    else:
                        new.append((system, row))
            if new:
                p_values = _bootstrap(baseline, [system for system, _ in new], subset)
                yield [row | values for (_, row), values in zip(new, p_values)]


def _name(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in KEY)


def _opposed(baseline: Evaluation, system: Evaluation) -> bool:
    """Plain training is compared with R-Drop and LR-Drop, R-Drop with LR-Drop; of one model."""
    order = {"plain": 0, "rdrop": 1, "lrdrop": 2}
    cells = baseline.cell, system.cell
    same = len({(c.data.name, c.seed, c.method.plain_flags) for c in cells}) == 1
    return same and order[cells[0].method.family] < order[cells[1].method.family]


def _row(baseline: Evaluation, system: Evaluation, subset: str) -> Row:
    texts = [_hypothesis(evaluation, subset).read_bytes() for evaluation in (baseline, system)]
    return key(system) | {
        "baseline": baseline.cell.method.name,
        "subset": subset,
        "translations": " ".join(hashlib.sha256(text).hexdigest()[:12] for text in texts),
    }


def _hypothesis(evaluation: Evaluation, subset: str) -> Path:
    return evaluation.folder / f"hyp.{subset}.{data_of(evaluation).target_lang}"


def _tokenization(evaluation: Evaluation, subset: str) -> str:
    """That of the first score, by which the data set is judged: 13a, none, zh, ..."""
    signature: str = evaluation.scores(subset)["scores"][0]["signature"]
    return signature.split("tok:")[1].split("|")[0]


def _bootstrap(baseline: Evaluation, systems: Sequence[Evaluation], subset: str) -> list[Row]:
    """p-values of each system by scripts/compare.sh."""
    command = [
        SCRIPTS / "compare.sh", "--tokenize", _tokenization(baseline, subset),
        "--reference", baseline.folder / f"ref.{subset}.{data_of(baseline).target_lang}",
        _hypothesis(baseline, subset), *(_hypothesis(system, subset) for system in systems),
    ]  # fmt: skip
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    found = P_VALUE.findall(done.stdout)
    if done.returncode or len(found) != 2 * len(systems):
        raise RuntimeError(f"{' '.join(map(str, command))} failed: {done.stderr[-500:]}")
    before = _values(baseline, subset)
    rows = []
    for system, *p_values in zip(systems, found[::2], found[1::2], strict=True):
        # Of two equal scores sacreBLEU says 0.001: no resample differs more than they do.
        p_values = [
            "1.0000" if score == value else p
            for p, score, value in zip(p_values, _values(system, subset), before, strict=True)
        ]
        rows.append(dict(zip(("p BLEU", "p chrF"), p_values, strict=True)))
    return rows


def _values(evaluation: Evaluation, subset: str) -> tuple[float, float]:
    """The first score, which is a BLEU, and chrF."""
    scores = evaluation.scores(subset)["scores"]
    return scores[0]["value"], next(s["value"] for s in scores if s["title"] == "chrF")
