"""Checks what finetune.sh is to train, keeps SAVE_DIR/train.json, and finds the checkpoint.

Prints the architecture, the number of GPUs and the checkpoint's file, with tabs between them; on
failure prints what is wrong on standard error and exits with status 1. With a command behind -- it
becomes that, as train_record.py does.
"""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.runs import train_record
from scripts.runs.train_record import RecordError

ARCHITECTURES = {768: "lr_drop_bart_base", 1024: "lr_drop_bart_large"}
PUBLIC = {"bart.base": "lr_drop_bart_base", "bart.large": "lr_drop_bart_large"}


def architecture(checkpoint: Path, data: Path, any_size: bool) -> str:
    """The architecture of a BART checkpoint, by the size of its embeddings.

    Raises RecordError when it is no BART of a public size (unless ``any_size``), or has another
    vocabulary than the data.
    """
    from fairseq.checkpoint_utils import load_checkpoint_to_cpu

    # Importing it lets today's torch load fairseq's checkpoints.
    from lrdrop_fairseq.compat.refusals import Refused

    try:
        parameters = load_checkpoint_to_cpu(str(checkpoint))["model"]
        words, dimension = parameters["encoder.embed_tokens.weight"].shape
    except Refused as error:
        raise RecordError(str(error)) from error
    except Exception as error:  # of options or parameters that BART does not have
        raise RecordError(f"{checkpoint} is no checkpoint of BART: {error!r}") from error
    with (data / "dict.source.txt").open(encoding="utf-8") as lines:
        expected = sum(1 for _ in lines) + 4  # <s>, <pad>, </s>, <unk>
    if words not in (expected, expected + 1):  # BART's last row is <mask>, which is cut off
        raise RecordError(
            f"{checkpoint} has {words} embeddings, but the vocabulary of {data} has {expected}: "
            "the data were prepared with another dict.txt"
        )
    if dimension not in ARCHITECTURES and not any_size:
        raise RecordError(
            f"{checkpoint} has embeddings of size {dimension}, neither those of bart.base (768) "
            "nor of bart.large (1024): say what it is after --, as in "
            f"-- --arch lr_drop_bart --encoder-embed-dim {dimension} --encoder-layers ..."
        )
    return ARCHITECTURES.get(dimension, "lr_drop_bart")


def find(bart: str, data: Path, any_size: bool) -> tuple[str, str]:
    """(architecture, checkpoint file) of what ``--bart`` names."""
    checkpoint = public_checkpoint(bart) if bart in PUBLIC else Path(bart)
    if not checkpoint.is_file():
        raise RecordError(f"--bart {bart}: no such file; or give bart.large or bart.base")
    if bart in PUBLIC:
        return PUBLIC[bart], str(checkpoint)
    return architecture(checkpoint, data, any_size), str(checkpoint)


def public_checkpoint(name: str) -> Path:
    """model.pt of bart.base or bart.large, downloaded into the folder models if it is not there."""
    from scripts.archives.check import ArchiveError
    from scripts.download import provide

    try:
        return provide(f"model-{name}", Path("models")) / name / "model.pt"
    except ArchiveError as error:
        raise RecordError(f"{error}\n(--bart FILE takes a checkpoint that you have)") from error


def main() -> int:
    """The command line; returns the exit status."""
    parser = train_record.command_line(__doc__)
    parser.add_argument("--bart", required=True)
    parser.add_argument("--any-size", action="store_true")
    arguments, command = train_record.split_command(sys.argv[1:])
    options = parser.parse_args(arguments)
    try:
        train_record.languages(options.data)
        bart = options.bart if options.bart in PUBLIC else str(Path(options.bart).resolve())
        record = train_record.describe(options, bart=bart)
        if command:
            train_record.train(options.save_dir, record, command)
        train_record.check(options.save_dir, record)
        arch, checkpoint = find(options.bart, options.data, options.any_size)
    except (RecordError, OSError) as error:
        print(f"finetune.sh: error: {error}", file=sys.stderr)
        return 1
    import torch

    print(arch, torch.cuda.device_count(), checkpoint, sep="\t")
    return 0


if __name__ == "__main__":
    sys.exit(main())
