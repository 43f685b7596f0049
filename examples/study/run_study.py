"""Runs the cells of a study, several side by side, and keeps its tables. Used by run.sh.

Complete cells are skipped, interrupted ones go on, a failed one is named and the others go on. The
exit status is 0 if all that was asked for is complete, 1 if something failed, 3 if time was up.
"""

from __future__ import annotations

import argparse
import fcntl
import fnmatch
import signal
import sys
from pathlib import Path

from examples.study.cell_jobs import Evaluation
from examples.study.jobs import ROOT, Place
from examples.study.kinds import kind_of
from examples.study.machines import describe
from examples.study.progress import say
from examples.study.read_study import read_study
from examples.study.schedule import Scheduler
from examples.study.study_fields import StudyError
from examples.study.tables import Tables
from scripts.runs import complete_files


def main() -> int:
    """The command line; returns the exit status."""
    args = _parse()
    try:
        study = read_study(args.study, ROOT)
        cells = [cell for cell in study.cells if fnmatch.fnmatch(cell.name, args.only)]
        if not cells:
            names = ", ".join(cell.name for cell in study.cells)
            raise StudyError(f"--only '{args.only}' matches no cell; there are {names}")
        args.output.mkdir(parents=True, exist_ok=True)
        lock = open(args.output / ".lock", "w")  # noqa: SIM115  # held as long as this runs
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StudyError(f"another runner works in {args.output}: wait for it") from None
        machine = describe(args.device)
        place = Place(study, args.output.resolve(), args.device)
        kind = kind_of(study.kind)
        tables = Tables(place, kind, args.workers, machine)
        # Of all cells: the tables are over the rows of those that are not asked for, too.
        complete = tables.complete()
        missing = [cell for cell in cells if cell.name not in complete]
        jobs = kind.plan(place, missing)
        for job in jobs:
            job.check()
        for job in kind.plan(place, study.cells):
            job.check_sources()
    except (ValueError, OSError) as error:
        print(f"run.sh: error: {error}", file=sys.stderr)
        return 1
    scheduler = Scheduler(jobs, args.workers, args.time_limit, tables.add)
    for ending in (signal.SIGTERM, signal.SIGHUP):  # HUP: the terminal was closed
        if signal.getsignal(ending) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(ending, lambda number, _: sys.exit(128 + number))
    say(f"{study.name}: {len(cells)} cells, {len(cells) - len(missing)} of them complete; "
        f"{args.workers} side by side on {machine}")  # fmt: skip
    try:
        scheduler.run()
        evaluations = [job for job in kind.plan(place, study.cells) if isinstance(job, Evaluation)]
        compared = tables.compare(evaluations, scheduler.seconds_left)
    except (KeyboardInterrupt, SystemExit) as end:
        scheduler.end()
        say("ended; the same command goes on from here")
        return 130 if isinstance(end, KeyboardInterrupt) else int(end.code or 1)
    complete_files.say(f"{tables.write()}In {args.output}: {', '.join(tables.files())}")
    return scheduler.report() or compared


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--time-limit", type=float, help="minutes")
    parser.add_argument("--only", default="*")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
