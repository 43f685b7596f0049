"""A study: one YAML file of data sets, methods and seeds, and the cells that they make.

The README beside this file describes the format. Nothing is started here.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from study_fields import Fields, StudyError

WEIGHTS = ("hidden", "attention", "output")
# What the runner sets itself, so that every cell is trained and stopped alike.
RESERVED = {
    "--max-update", "--save-dir", "--seed", "--patience", "--cpu", "--log-format",
    "--validate-interval-updates", "--save-interval-updates", "--keep-interval-updates",
    "--lr-drop-hidden-weight", "--lr-drop-attention-weight", "--lr-drop-output-weight",
    "--lr-drop-start", "--lr-drop-ramp",
}  # fmt: skip
# Their learning rate depends on the end of the training, which a shared beginning has earlier.
ENDING_SCHEDULERS = {"cosine", "polynomial_decay", "triangular", "tri_stage", "manual"}


@dataclass(frozen=True)
class Data:
    """Parallel text and how it is prepared. ``pairs`` of them are drawn for training, or all."""

    name: str
    text: Path
    source_lang: str
    target_lang: str
    train: str
    valid: str
    test: tuple[str, ...]
    pairs: int | None = None
    vocab_size: int | None = None  # of sentencepiece; None: the text is in BPE already

    @property
    def subsets(self) -> list[str]:
        """What is translated, in the names of prepare.sh."""
        return ["valid", "test", *(f"test{i}" for i in range(1, len(self.test)))]


@dataclass(frozen=True)
class Method:
    """The weights of the terms, and when they act; plain training has none."""

    name: str
    hidden: float = 0.0
    attention: float = 0.0
    output: float = 0.0
    start: int = 0
    ramp: int = 0
    updates: int = 0
    flags: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """plain, rdrop (the output term alone) or lrdrop."""
        if self.hidden > 0 or self.attention > 0:
            return "lrdrop"
        return "rdrop" if self.output > 0 else "plain"

    @property
    def plain_flags(self) -> tuple[str, ...]:
        """The flags that matter before the terms act: all but those of the terms."""
        kept, skip = [], False
        for word in self.flags:
            own = word.startswith("--lr-drop-")
            if not own and not (skip and not word.startswith("--")):
                kept.append(word)
            skip = own and "=" not in word
        return tuple(kept)


@dataclass(frozen=True)
class Cell:
    """One training: a data set, a method and a seed."""

    data: Data
    method: Method
    seed: int

    @property
    def name(self) -> str:
        return f"{self.data.name}/{self.method.name}-seed{self.seed}"


@dataclass(frozen=True)
class Study:
    """What a file says. ``average`` checkpoints are averaged; None: the best by validation loss."""

    name: str
    preset: str
    flags: tuple[str, ...]
    validate_every: int
    average: int | None
    cells: tuple[Cell, ...]

    @property
    def rule(self) -> str:
        return f"average of {self.average}" if self.average else "best validation loss"

    def settings(self, cell: Cell) -> str:
        """All that decides what comes out of a cell, but for seed, device and versions: one line.

        A row of results that has other settings is the result of another training.
        """
        data, method = cell.data, cell.method
        text = f"{data.train}, {data.pairs or 'all'} pairs, {data.vocab_size or 'given'} pieces"
        terms = [f"{name} {getattr(method, name):g}" for name in WEIGHTS if getattr(method, name)]
        if terms:
            terms += [f"start {method.start}", f"ramp {method.ramp}"]
        parts = [text, f"preset {self.preset}", shlex.join(self.flags + method.flags)]
        parts += [" ".join(terms) or "no terms", f"{method.updates} updates", self.rule]
        return "; ".join(parts)


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
    return Data(
        fields.name,
        root / fields.text("text"),
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
    used = ENDING_SCHEDULERS & set(flags + method.flags)
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
