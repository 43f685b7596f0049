"""Checks what train.sh is to train, and keeps SAVE_DIR/train.json.

Prints the number of GPUs; on failure prints what is wrong on standard error and exits with status
1. With a command behind -- it becomes that, as scripts/runs/train_record.py does.
"""

from __future__ import annotations

import sys

from examples.language_model import data
from scripts.corpora.prepare_text import TextError
from scripts.runs import train_record
from scripts.runs.train_record import RecordError


def main() -> int:
    """The command line; returns the exit status."""
    parser = train_record.command_line(__doc__)
    parser.add_argument("--preset", required=True)
    arguments, command = train_record.split_command(sys.argv[1:])
    options = parser.parse_args(arguments)
    try:
        data.read(options.data)
        record = train_record.describe(options, preset=options.preset)
        if command:
            train_record.train(options.save_dir, record, command)
        train_record.check(options.save_dir, record)
    except (RecordError, TextError, OSError) as error:
        print(f"train.sh: error: {error}", file=sys.stderr)
        return 1
    import torch

    print(torch.cuda.device_count())
    return 0


if __name__ == "__main__":
    sys.exit(main())
