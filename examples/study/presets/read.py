"""Reads a study whose cells are trained with a preset; a kind reads its data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from examples.study.presets.studies import Cell, Data, Study
from examples.study.read_methods import KEYS, read_flags, read_method, read_seeds
from examples.study.studies import WEIGHTS, Method
from examples.study.study_fields import Fields, StudyError

# Their learning rate depends on the end of the training, which a shared beginning has earlier.
ENDING_SCHEDULERS = {"cosine", "polynomial_decay", "triangular", "tri_stage", "manual"}


def read_study(
    kind: str, top: Fields, root: Path, data: Callable[[Fields, Path], Data], *more: str
) -> Study:
    """The study of a kind in a file.

    Args:
        kind: its name.
        top: the fields of the file.
        root: where relative folders of text are taken from.
        data: reads a data set.
        more: keys that the kind reads itself.

    Raises:
        StudyError: the file is no study.
    """
    top.allow("about", "kind", "data", "preset", "average", *more, *KEYS)
    flags = read_flags(top)
    every = top.whole("validate_every")
    datasets = [data(fields, root) for fields in top.children("data")]
    methods = [_method(fields, top, flags) for fields in top.children("methods")]
    seeds = read_seeds(top)
    cells = [Cell(data, method, seed) for data in datasets for seed in seeds for method in methods]
    return Study(
        kind=kind,
        name=top.name,
        flags=flags,
        validate_every=every,
        cells=tuple(cells),
        preset=top.text("preset"),
        average=top.whole("average", None),
    )


def read_tests(fields: Fields, folder: Path) -> tuple[str, ...]:
    """The names of the test sets in a folder.  StudyError where prepare.sh could not take them."""
    tests = fields.content.get("test")
    if not isinstance(tests, list) or not tests or not all(isinstance(t, str) for t in tests):
        raise StudyError(f"{fields.where}: test must be a list of names, not {tests!r}")
    if "," in "".join((str(folder), *tests)):
        raise StudyError(f"{fields.where}: a comma in {folder} or in {tests}: prepare.sh "
                         "takes it for the end of a test set")  # fmt: skip
    return tuple(tests)


def _method(fields: Fields, top: Fields, flags: tuple[str, ...]) -> Method:
    """A method whose beginning, where it has a plain one, can be shared."""
    fields.allow(*WEIGHTS, "start", "ramp", "updates", "flags")
    method, every = read_method(fields, top), top.whole("validate_every")
    if method.family == "plain":
        return method
    if method.start % every or method.start >= method.updates:
        raise StudyError(
            f"{fields.where}: start is {method.start}; it must be below updates "
            f"({method.updates}) and a multiple of validate_every ({every}), where checkpoints are"
        )
    used = ENDING_SCHEDULERS & {part for flag in flags + method.flags for part in flag.split("=")}
    if method.start and used:
        raise StudyError(
            f"{fields.where}: --lr-scheduler {used.pop()} depends on the end of the training, so "
            "its beginning cannot be shared: use inverse_sqrt or fixed, or start 0"
        )
    return method
