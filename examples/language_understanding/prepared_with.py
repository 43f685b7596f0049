"""Refuses a prepared task of GLUE whose tokenizer is another one than is asked for.

Used by prepare_glue.sh, which leaves alone what is complete.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from examples.language_understanding.encoders import fingerprint, gpt2_bpe_files, imported_files
from examples.language_understanding.sentence_tasks import TaskError


def check(prepared: Path, encoder: Path | None, bpe: Path | None) -> None:
    """TaskError unless ``prepared`` was made with this tokenizer; without one, with GPT-2's BPE."""
    path = prepared / "prepare.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["encoder"]
        kind, sha256 = found["kind"], found["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise TaskError(f"{path}: not what prepare_glue.sh writes ({error!r}); make it again with "
                        "--force") from error  # fmt: skip
    wanted = imported_files(encoder) if encoder else gpt2_bpe_files(bpe) if bpe else None
    same = kind == "gpt2-bpe" if wanted is None else sha256 == fingerprint(wanted.values())
    if not same:
        asked = encoder or bpe or "GPT-2's BPE"
        raise TaskError(
            f"{prepared} exists, made with another tokenizer ({kind}) than {asked}: choose another "
            "--output, or replace it with --force"
        )


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prepared", type=Path)
    tokenizer = parser.add_mutually_exclusive_group()
    tokenizer.add_argument("--bpe", type=Path)
    tokenizer.add_argument("--encoder", type=Path)
    options = parser.parse_args()
    try:
        check(options.prepared, options.encoder, options.bpe)
    except (TaskError, OSError) as error:
        print(f"prepare_glue.sh: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
