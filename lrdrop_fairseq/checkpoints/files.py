"""Reading fairseq's checkpoints, and writing them whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch


class CheckpointError(Exception):
    """A checkpoint that cannot be read; the message says which, and why."""


def load(path: Path) -> dict[str, Any]:
    """A checkpoint as fairseq reads it, with its configuration in plain containers.

    Raises:
        CheckpointError: there is none, it is damaged, or it holds what is not loaded from a file.
    """
    from fairseq import checkpoint_utils
    from omegaconf import OmegaConf

    from lrdrop_fairseq.compat.refusals import Refused

    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        state: dict[str, Any] = checkpoint_utils.load_checkpoint_to_cpu(str(path))
    except Refused as error:
        raise CheckpointError(str(error)) from error
    except Exception as error:  # of options that no version of fairseq has written
        message = f"{path}: cannot be read as a fairseq checkpoint ({error})"
        raise CheckpointError(message) from error
    # Loading makes an OmegaConf tree of the configuration; files hold plain containers.
    if OmegaConf.is_config(state.get("cfg")):
        state["cfg"] = OmegaConf.to_container(state["cfg"], resolve=True, enum_to_str=True)
    return state


def save(checkpoint: dict[str, Any], output: Path) -> None:
    """Write the checkpoint; ``output`` appears only when it is complete.

    Raises:
        OSError: it cannot be written there.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = output.with_name(f"{output.name}.{os.getpid()}.part")
    try:
        with open(aside, "wb") as stream:
            torch.save(checkpoint, stream)
        os.replace(aside, output)
    except RuntimeError as error:  # what torch makes of a disk that is full
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise OSError(f"{output} cannot be written: {cause}") from error
    finally:
        aside.unlink(missing_ok=True)
