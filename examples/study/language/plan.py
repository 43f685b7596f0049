"""The jobs of a study of language models."""

from __future__ import annotations

from examples.study.language.preparation import SCRIPTS, Preparation
from examples.study.presets.plan import Plan

plan = Plan(Preparation, SCRIPTS).jobs
