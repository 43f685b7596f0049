"""The command that averages the parameters of several checkpoints of one training run.

The average of the last checkpoints usually translates better than any one of them (Vaswani et
al., 2017, section 6.1).  The result is an ordinary fairseq checkpoint, without optimizer state,
that ``fairseq-generate`` loads::

    python -m lrdrop_fairseq.average_checkpoints --save-dir DIR --last 10 --output FILE
    python -m lrdrop_fairseq.average_checkpoints --inputs A.pt B.pt C.pt --output FILE
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lrdrop_fairseq.checkpoints.average import average_checkpoints
from lrdrop_fairseq.checkpoints.files import save
from lrdrop_fairseq.checkpoints.model import ModelError, import_user_dir
from lrdrop_fairseq.checkpoints.newest import last_checkpoints
from lrdrop_fairseq.checkpoints.running_average import AveragingError


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lrdrop_fairseq.average_checkpoints",
        description="Average the parameters of several fairseq checkpoints of one run.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--inputs", nargs="+", type=Path, metavar="FILE", help="these checkpoints")
    source.add_argument("--save-dir", type=Path, metavar="DIR", help="the newest of this run")
    parser.add_argument("--last", type=int, metavar="N", help="how many, with --save-dir")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--user-dir", metavar="DIR", help="of an architecture of your own")
    options = parser.parse_args(arguments)
    if (options.save_dir is None) != (options.last is None):
        parser.error("--save-dir and --last N go together")
    try:
        if options.user_dir:
            import_user_dir(options.user_dir)
        paths = options.inputs or last_checkpoints(options.save_dir, options.last)
        checkpoint = average_checkpoints(paths)
        save(checkpoint, options.output)
    except (AveragingError, ModelError, OSError) as error:
        print(f"average_checkpoints: error: {error}", file=sys.stderr)
        return 1
    print(f"averaged {len(paths)} checkpoints into {options.output}:")
    for part in checkpoint["averaged_from"]:
        print(f"  {part['path']} ({part['num_updates']} updates)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
