"""The data directory of a data set; through a prepare.sh."""

from __future__ import annotations

from dataclasses import dataclass

from examples.study.jobs import Job
from examples.study.presets.studies import Data


@dataclass
class Preparation(Job):
    """A data directory. A kind says how it is made."""

    data: Data = None  # type: ignore[assignment]

    @property
    def settings(self) -> str:
        return self.data.settings

    def complete(self) -> bool:
        return (self.folder / "prepare.json").is_file()
