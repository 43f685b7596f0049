"""A trained sentence model as a folder that Hugging Face's ``transformers`` loads.

::

    python -m lrdrop_fairseq.export CHECKPOINT --huggingface OUT_FOLDER --encoder FOLDER

``AutoModelForSequenceClassification`` and ``AutoTokenizer`` load OUT_FOLDER, and predict what
fairseq's model predicts in evaluation.  CHECKPOINT is what ``sentence_prediction`` trained;
FOLDER the encoder that was fine-tuned, in Hugging Face's layout: one that
``python -m lrdrop_fairseq.import_encoder`` made, or for fairseq's public RoBERTa the same model
there.  Its tokenizer and the kind of the model come from there, the parameters do not.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lrdrop_fairseq.checkpoints.export_options import ExportError, flat_options, replace_task
from lrdrop_fairseq.export import load
from lrdrop_fairseq.export_huggingface.config import EXPORTER, classifier_config
from lrdrop_fairseq.export_huggingface.data import check_dictionaries, labels_of, pieces_of
from lrdrop_fairseq.export_huggingface.model import (
    CLASSES,
    classifier_state,
    head_name,
    trained_model,
)
from lrdrop_fairseq.export_huggingface.tokenizer import (
    SETTINGS,
    check_same_tokenizer,
    frame_as_trained,
    settings,
    trained_vocabulary,
)
from lrdrop_fairseq.import_encoder.errors import ImportingError
from lrdrop_fairseq.import_encoder.folder import TEXT_FILES, TOKENIZER, Folder
from lrdrop_fairseq.import_encoder.text import plain
from lrdrop_fairseq.import_encoder.vocabulary import UNK

CONFIG, WEIGHTS = "config.json", "model.safetensors"
SHOWN = 10  # labels in what is printed


@dataclass(frozen=True)
class Exported:
    """What is written.

    Attributes:
        config: ``config.json``.
        state: the parameters under Hugging Face's names.
        tokenizer: ``tokenizers.Tokenizer``.
        settings: ``tokenizer_config.json``.
        notes: what the user should know.
    """

    config: dict[str, Any]
    state: dict[str, Tensor]
    tokenizer: Any
    settings: dict[str, Any]
    notes: list[str]


def export_huggingface(checkpoint: Any, folder: Folder, data: Path | None = None) -> Exported:
    """Convert one checkpoint, as ``torch.load`` gives it.

    Args:
        folder: the encoder that was fine-tuned.
        data: the data directory of the training, if it is no longer where the checkpoint says.

    Raises:
        ExportError: it is no sentence model, or checkpoint, folder and data do not belong together.
        ImportingError: the folder is damaged.
    """
    options = flat_options(checkpoint)
    replace_task(options)
    original = folder.json(CONFIG)
    kind = original.get("model_type")
    if kind not in CLASSES or not isinstance(original.get("vocab_size"), int):
        raise ExportError(
            f"{folder.path / CONFIG}: model_type {kind!r}, vocab_size "
            f"{original.get('vocab_size')!r}; expected one of {', '.join(CLASSES)}, and a size"
        )
    data = data or Path(options.get("data") or "")
    head = head_name(options)
    dictionary = pieces_of(data)
    model = trained_model(checkpoint, options, dictionary)
    labels = labels_of(data, options)
    check_dictionaries(checkpoint.get("extra_state"), data)
    tokenizer = plain(folder.tokenizer())
    check_same_tokenizer(folder, tokenizer, data)
    vocabulary = trained_vocabulary(folder, tokenizer, original, dictionary)
    config = classifier_config(model, head, original, vocabulary, labels)
    size, segments = config["vocab_size"], config["type_vocab_size"]
    pairs = (data / "input1").is_dir()
    notes = frame_as_trained(tokenizer, kind, vocabulary, options, pairs)
    if size > len(dictionary):
        notes.append(
            f"{size - len(dictionary):,} of {size:,} pieces of the tokenizer were not in the "
            f"training's dictionary; they have the embedding of {vocabulary.named[UNK]}, which "
            "the model was trained to read in their place"
        )
    if labels is None:
        notes.append("its numbers are those of the training, which of GLUE's STS-B are 0 to 1")
    return Exported(
        config,
        classifier_state(model, head, kind, vocabulary, size, segments),
        tokenizer,
        settings(folder, tokenizer, config, vocabulary, model.max_positions()),
        notes,
    )


def write(exported: Exported, folder: Folder, out: Path) -> None:
    """Write OUT_FOLDER, which appears only when it is complete; one of before is replaced."""
    from safetensors.torch import save_file

    aside = out.with_name(f"{out.name}.{os.getpid()}.part")
    aside.mkdir(parents=True)
    try:
        for name in TEXT_FILES:
            if (folder.path / name).is_file():
                shutil.copyfile(folder.path / name, aside / name)
        for name, content in ((CONFIG, exported.config), (SETTINGS, exported.settings)):
            text = json.dumps(content, indent=2, ensure_ascii=False)
            (aside / name).write_text(f"{text}\n", encoding="utf-8")
        exported.tokenizer.save(str(aside / TOKENIZER))
        # Without this entry transformers 4 refuses the file.
        save_file(exported.state, aside / WEIGHTS, metadata={"format": "pt"})
        shutil.copymode(aside / CONFIG, aside / WEIGHTS)  # it is made for its owner's eyes alone
        if out.exists():
            shutil.rmtree(out)
        os.replace(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _check_out(out: Path, force: bool, sources: list[Path]) -> None:
    """ExportError where OUT_FOLDER is in the way, or something that is read is in it."""
    if out.exists() and not force:
        raise ExportError(f"{out} exists; choose another OUT_FOLDER, or replace it with --force")
    for source in sources:
        if source.resolve().is_relative_to(out.resolve()):
            raise ExportError(f"{source} is in {out}, which would be replaced")
    if out.exists() and not _ours(out):
        raise ExportError(f"{out} was not made by this command ({CONFIG} does not say so)")


def _ours(folder: Path) -> bool:
    """Whether this command has written a folder."""
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return bool(found["exported_by"] == EXPORTER)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def run(options: argparse.Namespace) -> str:
    """What ``--huggingface`` does; returns what to print.

    Raises:
        ExportError: the message says what is wrong, where, and what to do.
    """
    folder, out = options.encoder, options.huggingface
    sources = [options.checkpoint, folder, *([options.data] if options.data else [])]
    _check_out(out, options.force, sources)
    checkpoint = load(options.checkpoint)
    try:
        exported = export_huggingface(checkpoint, Folder(folder), options.data)
        write(exported, Folder(folder), out)
    except (ExportError, ImportingError) as error:
        raise ExportError(f"{options.checkpoint}: {error}") from error
    config = exported.config
    names = list(config["label2id"])
    what = f"labels {', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''}"
    if config["problem_type"] == "regression":
        what = "a regression"
    lines = [f"exported {options.checkpoint} to {out}: {config['architectures'][0]}, {what}"]
    return "\n".join([*lines, *(f"  {note}" for note in exported.notes)])
