"""The command that makes an ordinary checkpoint, of the parent architecture, of one of LR-Drop's.

Plain fairseq loads the result, without this plugin, and computes the same with it to the last
bit; training goes on from it with the parent criterion::

    python -m lrdrop_fairseq.export CHECKPOINT OUT [--drop-optimizer]

There is one exception, with a warning: a RoBERTa whose layer norms have another epsilon than
fairseq's (``--layer-norm-epsilon``).  A trained sentence model also becomes a folder for Hugging
Face's ``transformers``, with ``--huggingface`` (:mod:`lrdrop_fairseq.export_huggingface`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lrdrop_fairseq.checkpoints.export import export
from lrdrop_fairseq.checkpoints.export_options import ExportError
from lrdrop_fairseq.checkpoints.files import save
from lrdrop_fairseq.checkpoints.model import ModelError, import_user_dir
from lrdrop_fairseq.compat import checkpoint_contents
from lrdrop_fairseq.compat.refusals import Refused

# Of every layer norm in fairseq, which has no option for it.
FAIRSEQ_EPSILON = 1e-5


def load(path: Path) -> Any:
    """What is in the file; raises ExportError where it cannot be read."""
    if not path.is_file():
        raise ExportError(f"{path}: no such checkpoint")
    try:
        return checkpoint_contents.load(path, map_location="cpu")
    except Refused as error:
        raise ExportError(str(error)) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.out is None) == (options.huggingface is None):
        parser.error("give either OUT or --huggingface OUT_FOLDER")
    if options.huggingface is None and (options.encoder or options.data):
        parser.error("--encoder and --data go with --huggingface")
    if options.huggingface and options.encoder is None:
        parser.error("--huggingface needs --encoder FOLDER, the encoder that was fine-tuned: its "
                     "tokenizer goes along")  # fmt: skip
    if options.huggingface and options.drop_optimizer:
        parser.error("--drop-optimizer goes with OUT: --huggingface keeps no optimizer anyway")
    try:
        if options.user_dir:
            import_user_dir(options.user_dir)
        if options.huggingface:
            from lrdrop_fairseq.export_huggingface.command import run

            print(run(options))
        else:
            print(_ordinary(options))
    except ModuleNotFoundError as error:
        print(f"export: error: {error}; pip install 'lrdrop-fairseq[huggingface]' installs what "
              "--huggingface needs", file=sys.stderr)  # fmt: skip
        return 1
    except (ExportError, ModelError, OSError) as error:
        print(f"export: error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lrdrop_fairseq.export",
        description="Make an ordinary fairseq checkpoint of one that was trained with LR-Drop, or "
        "a folder for Hugging Face's transformers of a trained sentence model.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    parser.add_argument("out", type=Path, nargs="?", metavar="OUT")
    parser.add_argument("--drop-optimizer", action="store_true",
                        help="leave out the optimizer state, with Adam two thirds")  # fmt: skip
    parser.add_argument("--user-dir", metavar="DIR",
                        help="of an architecture of your own, as for fairseq-train")  # fmt: skip
    parser.add_argument("--huggingface", type=Path, metavar="OUT_FOLDER",
                        help="write a folder for transformers, in the place of OUT")  # fmt: skip
    parser.add_argument("--encoder", type=Path, metavar="FOLDER",
                        help="with --huggingface: the encoder that was fine-tuned, as "
                        "import_encoder wrote it; its tokenizer is copied")  # fmt: skip
    parser.add_argument("--data", type=Path, metavar="DIR",
                        help="with --huggingface: the data directory of the training, for its "
                        "labels (default: where the training had it)")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace OUT or OUT_FOLDER")
    return parser


def _ordinary(options: argparse.Namespace) -> str:
    """Export an ordinary checkpoint; returns what to print."""
    source, out = options.checkpoint, options.out
    if out.exists() and not options.force:
        raise ExportError(f"{out} exists; choose another OUT, or replace it with --force")
    if out.exists() and out.samefile(source):
        raise ExportError(f"{out} is the checkpoint itself")
    checkpoint = load(source)
    try:
        exported = export(checkpoint, options.drop_optimizer)
    except ExportError as error:
        raise ExportError(f"{source}: {error}") from error
    save(exported, out)
    parent = exported["args"]
    epsilon = parent.get("layer_norm_epsilon")
    if epsilon not in (None, FAIRSEQ_EPSILON):
        print(f"export: warning: {out} is NOT quite the same model: it was trained with "
              f"--layer-norm-epsilon {epsilon}, but plain fairseq computes with "
              f"{FAIRSEQ_EPSILON}; --huggingface keeps it", file=sys.stderr)  # fmt: skip
    return f"exported {source} to {out}: {parent['arch']}, {parent['criterion']}"


if __name__ == "__main__":
    sys.exit(main())
