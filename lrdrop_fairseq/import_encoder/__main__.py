"""Turns a pretrained model in Hugging Face's layout into a checkpoint of fairseq.

    python -m lrdrop_fairseq.import_encoder FOLDER OUT [--pieces-of FILE...] [--check FILE]

FOLDER holds config.json, model.safetensors or pytorch_model.bin, and tokenizer.json: a BERT,
RoBERTa, XLM-RoBERTa, BART or mBART.  OUT gets model.pt (of fairseq's roberta or bart, and so of
lr_drop_roberta and lr_drop_bart), dict.txt, the tokenizer's files, and import.json with the flags
that fairseq-train needs for this model.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import lrdrop_fairseq  # noqa: F401  registers what export and fairseq know by name
from lrdrop_fairseq.checkpoints.files import save
from lrdrop_fairseq.import_encoder.convert import Converted, convert
from lrdrop_fairseq.import_encoder.errors import ImportingError
from lrdrop_fairseq.import_encoder.folder import TEXT_FILES, TOKENIZER, Folder
from lrdrop_fairseq.import_encoder.text import DICTIONARY, RECORD


def texts_of(paths: Sequence[Path]) -> Iterator[str]:
    """The texts of files: each line, and each of its fields where it has tabs."""
    for path in paths:
        if path.suffix in (".jsonl", ".json", ".csv"):
            raise ImportingError(
                f"{path}: lines of text are read, with tabs between fields; the texts in a "
                f"{path.suffix[1:]} file are not what its lines say"
            )
        with path.open(encoding="utf-8", newline="\n") as lines:
            try:
                for line in lines:
                    yield from (field.strip() for field in line.split("\t"))
            except UnicodeDecodeError as error:
                raise ImportingError(f"{path}: not UTF-8 ({error})") from error


def write(converted: Converted, folder: Path, out: Path) -> None:
    """Write OUT, which appears only when it is complete; an OUT of before is replaced."""
    aside = out.with_name(f"{out.name}.{os.getpid()}.part")
    aside.mkdir(parents=True)
    try:
        save(converted.checkpoint, aside / "model.pt")
        (aside / DICTIONARY).write_text(converted.vocabulary.dictionary(), encoding="utf-8")
        converted.tokenizer.save(str(aside / TOKENIZER))
        for name in TEXT_FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, aside / name)
        record = json.dumps(converted.record, indent=2, ensure_ascii=False)
        (aside / RECORD).write_text(f"{record}\n", encoding="utf-8")
        if out.exists():
            shutil.rmtree(out)
        os.replace(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def check_out(out: Path, force: bool, sources: Sequence[Path]) -> None:
    """ImportingError where OUT is in the way, or something that is read is missing or in it."""
    for source in sources:
        if not source.exists():
            raise ImportingError(f"{source} does not exist")
        if source.resolve().is_relative_to(out.resolve()):
            raise ImportingError(f"{source} is in {out}, which would be replaced")
    if out.exists() and not force:
        raise ImportingError(f"{out} exists; choose another OUT, or replace it with --force")
    if out.exists() and not (out / RECORD).is_file():
        raise ImportingError(f"{out} was not made by this command (it has no {RECORD})")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lrdrop_fairseq.import_encoder",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--pieces-of", type=Path, nargs="+", metavar="FILE",
                        help="keep only the pieces that occur in these texts (for a closed study: "
                        "exact, and a small model trains faster)")  # fmt: skip
    parser.add_argument("--check", type=Path, metavar="FILE",
                        help="compare the states of all layers with those of transformers on the "
                        "first lines of this text")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace OUT")
    options = parser.parse_args(arguments)
    try:
        texts_given = [*(options.pieces_of or ()), *([options.check] if options.check else ())]
        check_out(options.out, options.force, [options.folder, *texts_given])
        texts = None if options.pieces_of is None else texts_of(options.pieces_of)
        converted = convert(Folder(options.folder), texts)
        write(converted, options.folder, options.out)
        report(converted, options.out)
        if options.check:
            from lrdrop_fairseq.import_encoder.check import differences, same, show

            found = differences(options.folder, options.out, texts_of([options.check]))
            print(show(found))
            return 0 if same(found) else 1
    except ModuleNotFoundError as error:
        print(f"import_encoder: error: {error}; pip install 'lrdrop-fairseq[huggingface]' installs "
              "what this needs", file=sys.stderr)  # fmt: skip
        return 1
    except (ImportingError, OSError) as error:
        print(f"import_encoder: error: {error}", file=sys.stderr)
        return 1
    return 0


def report(converted: Converted, out: Path) -> None:
    """Say what came out."""
    record = converted.record
    tensors = {value.data_ptr(): value.numel() for value in converted.checkpoint["model"].values()}
    print(f"{out}: {record['model_type']}, {sum(tensors.values()) / 1e6:.1f}M parameters, "
          f"{record['pieces']:,} of {record['of_pieces']:,} pieces")  # fmt: skip
    for note in converted.notes:
        print(f"  {note}")
    print(f"flags: --arch {record['arch']} {' '.join(record['flags'])}")


if __name__ == "__main__":
    sys.exit(main())
