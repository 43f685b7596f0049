"""Reads a study of classified sentences."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from examples.study.read_methods import KEYS, read_flags, read_method, read_seeds
from examples.study.sentences.studies import METRICS, Cell, Data, Method, Study
from examples.study.studies import WEIGHTS
from examples.study.study_fields import Fields, StudyError

# What finetune.sh and the runner set beside what is theirs in every study.
RESERVED = (
    "--arch", "--num-classes", "--init-token", "--total-num-update", "--warmup-updates",
    "--regression-target", "--report-mcc",
)  # fmt: skip


def read(top: Fields, root: Path) -> Study:
    """The study in a file; relative folders are taken from ``root``.

    Raises:
        StudyError: the file is no study.
    """
    top.allow("about", "kind", "pretrained", "data", "keep_checkpoints", *KEYS)
    flags = read_flags(top, RESERVED)
    datasets = [_data(fields, root) for fields in top.children("data")]
    _check_folders(top, datasets)
    methods = [_method(fields, top) for fields in top.children("methods")]
    seeds = read_seeds(top)
    usual = top.whole("updates")
    cells = [
        Cell(data, _in_proportion(method, data, usual), seed)
        for data in datasets
        for seed in seeds
        for method in methods
    ]
    pretrained = top.text("pretrained")
    return Study(
        kind="sentences",
        name=top.name,
        flags=flags,
        validate_every=top.whole("validate_every"),
        cells=tuple(cells),
        pretrained=pretrained,
        pretrained_path=root / pretrained,
        keep_checkpoints=_yes(top, "keep_checkpoints"),
    )


def _data(fields: Fields, root: Path) -> Data:
    fields.allow("text", "examples", "metric", "updates")
    source, metric = fields.text("text"), fields.content.get("metric", METRICS[0])
    if metric not in METRICS:
        raise StudyError(f"{fields.where}: metric must be {' or '.join(METRICS)}, not {metric!r}")
    examples, updates = fields.whole("examples"), fields.whole("updates", None)
    return Data(fields.name, source, root / source, examples, metric, updates)


def _in_proportion(method: Method, data: Data, usual: int) -> Method:
    """The method with as many more or fewer updates as the data have than is ``usual``.

    One that has twice the study's updates has twice those of the data, too.
    """
    if data.updates is None:
        return method
    numbers = {name: getattr(method, name) for name in ("updates", "start", "ramp")}
    scaled = {name: round(number * data.updates / usual) for name, number in numbers.items()}
    return dataclasses.replace(method, **scaled)


def _check_folders(top: Fields, datasets: list[Data]) -> None:
    """StudyError for two folders with the same name, which is that of the set in tables."""
    texts: dict[str, Path] = {}
    for data in datasets:
        if texts.setdefault(data.set_name, data.text) != data.text:
            raise StudyError(
                f"{top.where}: data: {texts[data.set_name]} and {data.text} have the same name, "
                "by which the set is called: give one another name"
            )


def _method(fields: Fields, top: Fields) -> Method:
    fields.allow(*WEIGHTS, "start", "ramp", "updates", "flags", "from_scratch")
    method = read_method(fields, top, RESERVED)
    if method.family != "plain" and method.start >= method.updates:
        raise StudyError(
            f"{fields.where}: start is {method.start}; it must be below updates ({method.updates})"
        )
    common = {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
    return Method(**common, from_scratch=_yes(fields, "from_scratch"))


def _yes(fields: Fields, key: str) -> bool:
    value = fields.content.get(key, False)
    if not isinstance(value, bool):
        raise StudyError(f"{fields.where}: {key} must be true or false, not {value!r}")
    return value
