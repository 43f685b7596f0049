"""Reads a study from its YAML file, and refuses what cannot be run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from studies import WEIGHTS, Cell, Data, Method, Study
from study_fields import Fields, StudyError

# What the runner sets itself, so that every cell is trained and stopped alike.
RESERVED = {
    "--max-update", "--max-epoch", "--stop-time-hours", "--save-dir", "--seed", "--patience",
    "--cpu", "--log-format", "--criterion", "--restore-file", "--finetune-from-model",
    "--validate-interval-updates", "--save-interval-updates", "--keep-interval-updates",
    "--validate-interval", "--save-interval", "--no-save", "--disable-validation",
    "--best-checkpoint-metric", "--maximize-best-checkpoint-metric", "--distributed-world-size",
    "--lr-drop-hidden-weight", "--lr-drop-attention-weight", "--lr-drop-output-weight",
    "--lr-drop-start", "--lr-drop-ramp",
}  # fmt: skip
# Their learning rate depends on the end of the training, which a shared beginning has earlier.
ENDING_SCHEDULERS = {"cosine", "polynomial_decay", "triangular", "tri_stage", "manual"}


def read_study(path: Path, root: Path) -> Study:
    """The study in a file; relative folders of text are taken from ``root``.

    Raises:
        StudyError: the file is no study.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise StudyError(f"{path}: cannot be read as YAML: {error}") from error
    top = Fields(content, str(path))
    top.allow("about", "data", "preset", "flags", "updates", "validate_every", "start", "ramp",
              "average", "seeds", "methods")  # fmt: skip
    flags = _flags(top)
    updates, every = top.whole("updates"), top.whole("validate_every")
    datasets = [_data(fields, root) for fields in top.children("data")]
    defaults = {
        "updates": updates,
        **{key: top.whole(key, 0, least=0) for key in ("start", "ramp")},
    }
    methods = [_method(fields, defaults, every, flags) for fields in top.children("methods")]
    seeds = top.content.get("seeds", [1])
    if not isinstance(seeds, list) or not all(isinstance(s, int) and s > 0 for s in seeds):
        raise StudyError(f"{path}: seeds must be a list of whole numbers, not {seeds!r}")
    cells = [Cell(data, method, seed) for data in datasets for seed in seeds for method in methods]
    average = top.whole("average", None)
    return Study(path.stem, top.text("preset"), flags, every, average, tuple(cells))


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
        *(fields.text(key) for key in ("source_lang", "target_lang", "train", "valid")),
        tuple(tests),
        fields.whole("pairs", None),
        fields.whole("vocab_size", None),
    )


def _method(fields: Fields, defaults: dict[str, Any], every: int, flags: tuple[str, ...]) -> Method:
    fields.allow(*WEIGHTS, "start", "ramp", "updates", "flags")
    weights = {name: fields.weight(name) for name in WEIGHTS}
    numbers = {name: fields.whole(name, default, least=0) for name, default in defaults.items()}
    method = Method(fields.name, **weights, **numbers, flags=_flags(fields))
    if method.updates % every:
        raise StudyError(f"{fields.where}: updates must be a multiple of validate_every ({every})")
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


def _flags(fields: Fields) -> tuple[str, ...]:
    words = fields.flags()
    for word in words:
        if word.split("=")[0] in RESERVED:
            raise StudyError(f"{fields.where}: flags: {word} is set by the runner; see the README")
    return words
