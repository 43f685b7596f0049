"""Seconds of training from the times in a log. fairseq's own ``wall`` is 0 after every resume."""

from __future__ import annotations

import datetime
import re

TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) \| ")
# A process has built its model of so many parameters, has found a checkpoint, and takes its first
# batch.
BUILT = re.compile(r"\| INFO \| .*num\. (?:shared )?model params: ([\d,]+)")
LOADED = re.compile(r"\| INFO \| .*Loaded checkpoint .* @ (\d+) updates\)")
BEGAN = "Start iterating over samples"


class Clock:
    """Goes while a process trains, and goes on from its checkpoint's time where one resumes.

    What a process did after the checkpoint from which the next one goes on does not count, and
    neither does its start: the seconds are those of a training that was never interrupted.

    Attributes:
        by_update: seconds at each update that was marked.
    """

    def __init__(self) -> None:
        self.by_update: dict[int, float] = {}
        self.resumed_at: int | None = None  # updates; set by the line that says so
        self._before = 0.0
        self._began: datetime.datetime | None = None
        self._now: datetime.datetime | None = None

    def read(self, line: str) -> None:
        """Look at a line of the log."""
        self.resumed_at = None
        if found := TIME.match(line):
            self._now = datetime.datetime.fromisoformat(found.group(1))
        if BUILT.search(line):
            self._began = None
        elif loaded := LOADED.search(line):
            self.resumed_at = int(loaded.group(1))
            self.by_update = {u: s for u, s in self.by_update.items() if u <= self.resumed_at}
            self._before = max(self.by_update.values(), default=0.0)
        elif self._began is None and BEGAN in line:
            self._began = self._now

    def mark(self, update: int) -> None:
        """This update is finished; or what follows it, as its validation."""
        self.by_update[update] = self.seconds

    @property
    def seconds(self) -> float:
        """Of training so far."""
        if self._now is None or self._began is None:
            return self._before
        return self._before + (self._now - self._began).total_seconds()
