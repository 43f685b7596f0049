"""The jobs of a study of translation."""

from __future__ import annotations

from examples.study.jobs import SCRIPTS
from examples.study.presets.plan import Plan
from examples.study.translation.evaluations import Evaluation
from examples.study.translation.preparation import Preparation

plan = Plan(Preparation, SCRIPTS, Evaluation).jobs
