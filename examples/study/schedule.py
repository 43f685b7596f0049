"""Which job when: several side by side, each after what it needs, within the time limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from examples.study.cell_jobs import Evaluation, Training
from examples.study.jobs import Job
from examples.study.processes import Commands, StoppedEarly, last_lines
from examples.study.progress import say, updates_done

# Until an evaluation has been timed: what one takes, as a part of the time limit.
EVALUATION_PART = 0.1
SECONDS_BETWEEN_REPORTS = 60


class Scheduler:
    """Runs jobs; :meth:`report` says what became of them.

    Args:
        limit_minutes: of the whole; trainings are stopped in time to score what there is.
        evaluated: called with each cell that has been scored.
    """

    def __init__(
        self,
        jobs: list[Job],
        workers: int,
        limit_minutes: float | None,
        evaluated: Callable[[Evaluation], None],
    ) -> None:
        # An evaluation has no row yet, or it would not be here: what is complete is only read.
        done = [job for job in jobs if job.complete() and not isinstance(job, Evaluation)]
        self._done = {job.name for job in done}
        self._waiting = [job for job in jobs if job.name not in self._done]
        self._workers, self._evaluated = workers, evaluated
        self._limit = limit_minutes * 60 if limit_minutes else None
        self._began = time.monotonic()
        self._stopped = False
        self._failed: dict[str, str] = {}
        self._early: list[str] = []
        self._running: dict[Future[None], Job] = {}
        self._evaluations = [0.0]  # seconds of each
        self.commands = Commands()

    def run(self) -> None:
        """Run until everything is done, has failed, or is out of time."""
        reported = time.monotonic()
        with ThreadPoolExecutor(self._workers) as pool:
            try:
                while self._start(pool) or self._running:
                    finished, _ = wait(self._running, timeout=1, return_when=FIRST_COMPLETED)
                    for future in finished:
                        self._finish(self._running.pop(future), future)
                    if not self._stopped and self._out_of_time():
                        self._stopped = True
                        say("the time is up: trainings stop, what there is is scored")
                        self.commands.stop_training()
                    if time.monotonic() - reported > SECONDS_BETWEEN_REPORTS:
                        reported = time.monotonic()
                        self._tell()
            except BaseException:
                self.end()
                raise

    def end(self) -> None:
        """End everything that runs."""
        self.commands.end_all()

    def seconds_left(self) -> float:
        """Until the time limit; infinite without one."""
        return math.inf if self._limit is None else self._limit - self._elapsed()

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def report(self) -> int:
        """Name what is not complete; the exit status."""
        for name, why in self._failed.items():
            say(f"FAILED {name}: {why}")
        if self._early:
            say(f"stopped early: {', '.join(self._early)}; the same command goes on from here")
        return 1 if self._failed else 3 if self._early else 0

    def _start(self, pool: ThreadPoolExecutor) -> bool:
        """Start what can be started; whether anything was."""
        started = False
        # What is trained is scored before more is trained: a run that is cut has its results.
        for job in sorted(self._waiting, key=lambda job: not isinstance(job, Evaluation)):
            if len(self._running) == self._workers:
                break
            if self._blocked(job):
                continue
            self._waiting.remove(job)
            if self._stopped and not isinstance(job, Evaluation):
                self._early.append(job.name)
            elif any(need.name not in self._done for need in job.needs) and not self._partial(job):
                self._give_up(job)
            else:
                say(f"{job.name}: starts")
                self._running[pool.submit(job.run, self.commands)] = job
            started = True
        return started

    def _blocked(self, job: Job) -> bool:
        """Whether something that the job needs is still to come."""
        pending = {other.name for other in [*self._waiting, *self._running.values()]}
        return any(need.name in pending for need in job.needs)

    def _partial(self, job: Job) -> bool:
        """Whether it is the evaluation of a training that was stopped with something to score."""
        return (
            isinstance(job, Evaluation)
            and job.training.name in self._early
            and job.training.scorable()
        )

    def _give_up(self, job: Job) -> None:
        missing = [need.name for need in job.needs if need.name not in self._done]
        if any(name in self._failed for name in missing):
            # A training that failed has been told of, with what it said: its evaluation need not.
            if not isinstance(job, Evaluation):
                self._failed[job.name] = f"it needs {', '.join(missing)}, which failed"
        elif not isinstance(job, Evaluation):
            self._early.append(job.name)

    def _finish(self, job: Job, future: Future[None]) -> None:
        try:
            future.result()
            if isinstance(job, Evaluation):
                self._evaluations.append(job.seconds)
                self._evaluated(job)
        except StoppedEarly:
            self._early.append(job.name)
        except Exception as error:  # of one cell: the others go on, whatever it was
            # There is none, if it failed before its first command.
            where = f"; all it said is in {job.log}" if job.log.is_file() else ""
            self._failed[job.name] = f"{error}{where}"
            say(f"{job.name}: FAILED: {error}; its last lines:\n{last_lines(job.log)}")
        else:
            say(f"{job.name}: done")
            self._done.add(job.name)

    def _out_of_time(self) -> bool:
        if self._limit is None:
            return False
        # The trainings that run are scored side by side, so one evaluation's time is enough.
        reserve = 1.2 * max(self._evaluations) or EVALUATION_PART * self._limit
        return self._elapsed() > self._limit - reserve

    def _tell(self) -> None:
        parts = []
        for job in self._running.values():
            part = job.name
            if isinstance(job, Training):
                done = updates_done(job.train_log)
                part += f" {done:,}/{job.cell.method.updates:,}"
            parts.append(part)
        say(f"{len(self._waiting)} jobs to come; running: {'; '.join(parts)}")
