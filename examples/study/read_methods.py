"""Reads what the studies of all kinds have: flags, seeds, and methods with their weights."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from examples.study.studies import WEIGHTS, Method
from examples.study.study_fields import Fields, StudyError

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
# The keys of a study that read_methods reads.
KEYS = ("flags", "updates", "validate_every", "start", "ramp", "seeds", "methods")


def read_flags(fields: Fields, reserved: Collection[str] = ()) -> tuple[str, ...]:
    """Flags for fairseq-train, none of them the runner's own or among ``reserved``."""
    words = fields.flags()
    for word in words:
        if word.split("=")[0] in RESERVED or word.split("=")[0] in reserved:
            raise StudyError(f"{fields.where}: flags: {word} is set by the runner; see the README")
    return words


def read_seeds(top: Fields) -> list[int]:
    """The seeds of a study.  StudyError where they are not different whole numbers."""
    seeds = top.content.get("seeds", [1])
    numbers = isinstance(seeds, list) and all(type(seed) is int and seed > 0 for seed in seeds)
    if not numbers or not seeds or len(set(seeds)) < len(seeds):
        raise StudyError(
            f"{top.where}: seeds must be a list of different whole numbers, not {seeds!r}"
        )
    return list(seeds)


def read_method(fields: Fields, top: Fields, reserved: Collection[str] = ()) -> Method:
    """A method; what it has not of its own is the study's."""
    every = top.whole("validate_every")
    weights: dict[str, Any] = {name: fields.weight(name) for name in WEIGHTS}
    numbers: dict[str, Any] = {
        name: fields.whole(name, top.whole(name, 0, least=0), least=0) for name in ("start", "ramp")
    }
    numbers["updates"] = fields.whole("updates", top.whole("updates"))
    method = Method(fields.name, **weights, **numbers, flags=read_flags(fields, reserved))
    if method.updates % every:
        raise StudyError(f"{fields.where}: updates must be a multiple of validate_every ({every})")
    return method
