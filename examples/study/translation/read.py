"""Reads a study of translation."""

from __future__ import annotations

from pathlib import Path

from examples.study.read_methods import KEYS, read_flags, read_method, read_seeds
from examples.study.studies import WEIGHTS, Method
from examples.study.study_fields import Fields, StudyError
from examples.study.translation.studies import Cell, Data, Study

# Their learning rate depends on the end of the training, which a shared beginning has earlier.
ENDING_SCHEDULERS = {"cosine", "polynomial_decay", "triangular", "tri_stage", "manual"}


def read(top: Fields, root: Path) -> Study:
    """The study in a file; relative folders of text are taken from ``root``.

    Raises:
        StudyError: the file is no study.
    """
    top.allow("about", "kind", "data", "preset", "average", *KEYS)
    flags = read_flags(top)
    every = top.whole("validate_every")
    datasets = [_data(fields, root) for fields in top.children("data")]
    methods = [_method(fields, top, flags) for fields in top.children("methods")]
    seeds = read_seeds(top)
    cells = [Cell(data, method, seed) for data in datasets for seed in seeds for method in methods]
    return Study(
        kind="translation",
        name=top.name,
        flags=flags,
        validate_every=every,
        cells=tuple(cells),
        preset=top.text("preset"),
        average=top.whole("average", None),
    )


def _data(fields: Fields, root: Path) -> Data:
    fields.allow("text", "source_lang", "target_lang", "train", "valid", "test", "pairs",
                 "vocab_size")  # fmt: skip
    tests = fields.content.get("test")
    if not isinstance(tests, list) or not tests or not all(isinstance(t, str) for t in tests):
        raise StudyError(f"{fields.where}: test must be a list of prefixes, not {tests!r}")
    source = fields.text("text")
    if "," in "".join((str(root / source), *tests)):
        raise StudyError(f"{fields.where}: a comma in {root / source} or in {tests}: prepare.sh "
                         "takes it for the end of a test set")  # fmt: skip
    return Data(
        fields.name,
        source,
        root / source,
        fields.text("source_lang"),
        fields.text("target_lang"),
        fields.text("train"),
        fields.text("valid"),
        tuple(tests),
        fields.whole("pairs", None),
        fields.whole("vocab_size", None),
    )


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
