"""Repairs of what fairseq does with the names and options that a checkpoint holds."""

from __future__ import annotations

import functools
import shlex
from pathlib import Path
from typing import Any

from fairseq import checkpoint_utils
from fairseq.data.fasta_dataset import FastaDataset
from fairseq.file_io import PathManager
from fairseq.logging import meters
from fairseq.trainer import Trainer

from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.compat.replace import REPAIRED, replace
from lrdrop_fairseq.wrappers import unwrap

# The mark of the second repair of ``Trainer.load_checkpoint`` here.
AVERAGED = "_lrdrop_begins_moving_average"
MISSING = "_lrdrop_refuses_missing_file"  # and of that of ``checkpoint_utils.load_checkpoint``


def name_the_checkpoint() -> None:
    """Let a message about an option say which checkpoint holds it.

    Ends with: :func:`literals.evaluate_literals_alone`.
    """
    original = checkpoint_utils.load_model_ensemble_and_task
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def load_model_ensemble_and_task(filenames: Any, *args: Any, **kwargs: Any) -> Any:
        names = ", ".join(map(str, filenames))
        try:
            return original(filenames, *args, **kwargs)
        except Refused as error:
            if any(str(error).startswith(str(name)) for name in filenames):
                raise
            raise Refused(f"{names}: {error}") from error

    replace(checkpoint_utils, load_model_ensemble_and_task)


def refuse_a_restore_file_that_is_not_there() -> None:
    """Let ``--restore-file`` fail where there is no such file.

    fairseq says "No existing checkpoint found" among a hundred other lines and trains a random
    model.  One in ``--save-dir`` need not be there: the first run of a command has none yet.

    Ends with: a fairseq that looks for the file, as for that of ``--finetune-from-model`` (none so
    far).
    """
    original = checkpoint_utils.load_checkpoint
    if hasattr(original, MISSING):
        return

    @functools.wraps(original)
    def load_checkpoint(cfg: Any, trainer: Any, **passthrough_args: Any) -> Any:
        path = cfg.restore_file.replace(".pt", f"{trainer.checkpoint_suffix or ''}.pt")
        given = cfg.restore_file != "checkpoint_last.pt"  # which is in --save-dir
        elsewhere = Path(path).resolve().parent != Path(cfg.save_dir).resolve()
        if given and elsewhere and not PathManager.isfile(path):
            raise Refused(
                f"--restore-file {path} does not exist: the training would begin with a random "
                "model. Correct the path, or leave the option out"
            )
        return original(cfg, trainer, **passthrough_args)

    replace(checkpoint_utils, load_checkpoint, MISSING)


def say_what_a_resumed_training_lacks() -> None:
    """Let a training that cannot go on from a checkpoint say what is not in it.

    A history of the training without the criterion's name, say, ends in ``KeyError:
    'criterion_name'``.

    Ends with: a fairseq whose ``Trainer.load_checkpoint`` looks first (none so far).
    """
    original = Trainer.load_checkpoint
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def load_checkpoint(self: Any, filename: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, filename, *args, **kwargs)
        except KeyError as error:
            raise Refused(
                f"{filename}: holds no {error}, so that the training cannot go on from it; "
                "--finetune-from-model, or --restore-file with --reset-optimizer, "
                "--reset-lr-scheduler, --reset-meters and --reset-dataloader, takes the parameters "
                "alone"
            ) from error

    replace(Trainer, load_checkpoint)


def begin_the_moving_average_that_is_not_there() -> None:
    """Let ``--store-ema`` begin with the parameters of a checkpoint that holds no average.

    fairseq means to, says so, and reads them where it has just deleted them: ``KeyError: 'model'``.

    Ends with: a fairseq whose ``Trainer.load_checkpoint`` keeps them (none so far).
    """
    original = Trainer.load_checkpoint
    if hasattr(original, AVERAGED):
        return

    @functools.wraps(original)
    def load_checkpoint(self: Any, *args: Any, **kwargs: Any) -> Any:
        options = self.cfg.ema
        try:
            return original(self, *args, **kwargs)
        except KeyError as error:
            if error.args != ("model",) or not options.store_ema:
                raise
        # All is read again, once in a training: fairseq keeps nothing of what it had read.
        options.store_ema = False
        try:
            extra_state = original(self, *args, **kwargs)
        finally:
            options.store_ema = True
        parameters = unwrap(self.model)[-1].state_dict()
        self.ema.restore(parameters, build_fp32_params=options.ema_fp32)
        return extra_state

    replace(Trainer, load_checkpoint, AVERAGED)


def build_meters_alone() -> None:
    """Let the classes of meters that a checkpoint names be meters.

    fairseq calls whatever function of its module has the name that stands there.

    Ends with: a fairseq that keeps a table of its meters (none so far).
    """
    original = meters.MetersDict.load_state_dict
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def load_state_dict(self: Any, state_dict: Any) -> None:
        for _, key, name, _ in state_dict:
            cls = vars(meters).get(name)
            if not isinstance(cls, type) or not issubclass(cls, meters.Meter):
                raise Refused(f"the meter {key!r} of the checkpoint is a {name!r}, which is none")
        original(self, state_dict)

    replace(meters.MetersDict, load_state_dict)


def quote_the_names_of_fasta_files() -> None:
    """Let the shell read the name of a file as a name.

    With ``--dataset-impl fasta``, which a checkpoint can say too, fairseq puts the path of a data
    set into a line for the shell as it is: one with a space is not found, one with ``;`` is run.

    Ends with: a fairseq that indexes FASTA files without a shell (none so far).
    """
    original = FastaDataset._build_index
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def _build_index(self: Any, path: str) -> Any:
        return original(self, shlex.quote(path))

    replace(FastaDataset, _build_index)
