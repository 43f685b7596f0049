"""The jobs of a study of sentences: encoders, data directories, fine-tunings and their scores."""

from __future__ import annotations

from collections.abc import Sequence

from examples.study.jobs import Job, Place
from examples.study.sentences.evaluations import Evaluation
from examples.study.sentences.finetunings import Finetuning
from examples.study.sentences.preparations import Importing, Preparation
from examples.study.sentences.studies import Cell


def plan(place: Place, cells: Sequence[Cell]) -> list[Job]:
    """All jobs of these cells of the study, each after what it needs."""
    jobs: dict[str, Job] = {}
    output = place.output
    for cell in cells:
        name, encoder = cell.data.set_name, output / "encoders" / cell.data.set_name
        importing = Importing(f"encoder {name}", place, encoder, data=cell.data)
        imported = jobs.setdefault(importing.name, importing)
        name, folder = f"data {cell.data_name}", output / "data" / cell.data_name
        preparation = Preparation(name, place, folder, [imported], cell, encoder)
        prepared = jobs.setdefault(name, preparation)
        folder = output / "cells" / cell.name
        training = Finetuning(f"train {cell.name}", place, folder, [prepared], cell, encoder)
        evaluation = Evaluation(
            f"evaluate {cell.name}", place, folder / "eval", [training], training=training
        )
        jobs |= {job.name: job for job in (training, evaluation)}
    return list(jobs.values())
