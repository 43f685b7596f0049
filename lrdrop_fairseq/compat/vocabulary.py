"""Repairs of what fairseq does not see: that a checkpoint and the data have other dictionaries."""

from __future__ import annotations

import contextlib
import functools
import os
from typing import Any

from fairseq import checkpoint_utils, tasks, utils
from fairseq.file_io import PathManager
from fairseq.tasks import FairseqTask
from fairseq.tasks.language_modeling import LanguageModelingTask
from fairseq.trainer import Trainer

from lrdrop_fairseq import vocabulary
from lrdrop_fairseq.compat.replace import replace

COMPARES = "_lrdrop_compares_dictionaries"


def refuse_another_preparation() -> None:
    """Let a dictionary that is not the one its folder was prepared with be refused.

    With fewer words than the data have, fairseq ends in an IndexError of an embedding, on a GPU in
    an assertion of a kernel; with as many others it trains on the wrong words.

    Ends with: a fairseq that saves the hash of the dictionary beside the data (none so far).
    """
    original = FairseqTask.load_dictionary.__func__
    if hasattr(original, COMPARES):
        return

    @functools.wraps(original)
    def load_dictionary(cls: Any, filename: str) -> Any:
        dictionary = original(cls, filename)
        vocabulary.check_preparation(filename, dictionary)
        return dictionary

    setattr(load_dictionary, COMPARES, True)
    FairseqTask.load_dictionary = classmethod(load_dictionary)
    # The task of language models reads its dictionary without that method.
    set_up: Any = LanguageModelingTask.setup_dictionary.__func__

    @functools.wraps(set_up)
    def setup_dictionary(cls: Any, args: Any, **kwargs: Any) -> Any:
        dictionary, output_dictionary = set_up(cls, args, **kwargs)
        if dictionary is not None:
            path = os.path.join(utils.split_paths(args.data)[0], "dict.txt")
            vocabulary.check_preparation(path, dictionary)
        return dictionary, output_dictionary

    checking: Any = setup_dictionary
    LanguageModelingTask.setup_dictionary = classmethod(checking)


def save_dictionary_identities() -> None:
    """Let a checkpoint say which dictionaries it was trained with.

    See :mod:`lrdrop_fairseq.vocabulary`; the two repairs below compare it.

    Ends with: a fairseq that saves its dictionaries, or their hashes (none so far).
    """
    original = Trainer.state_dict
    if hasattr(original, COMPARES):
        return

    @functools.wraps(original)
    def state_dict(self: Trainer) -> dict[str, Any]:
        state: dict[str, Any] = original(self)
        if found := vocabulary.identities(self.task):
            state["extra_state"][vocabulary.KEY] = found
        return state

    replace(Trainer, state_dict, COMPARES)


def train_on_the_dictionary_of_the_checkpoint() -> None:
    """Let a training go on from a checkpoint, or from another model, only with its dictionaries.

    fairseq goes on with other words for the same embeddings (resume, ``--restore-file``,
    ``--finetune-from-model``) where there are as many of them, and where there are not says that
    "the architectures" do not match.

    Ends with: a fairseq that compares dictionaries when it resumes (none so far).
    """
    original = Trainer.load_checkpoint
    if hasattr(original, COMPARES):
        return

    @functools.wraps(original)
    def load_checkpoint(
        self: Trainer, filename: str, reset_optimizer: bool = False, *args: Any, **kwargs: Any
    ) -> Any:
        try:
            extra_state = original(self, filename, reset_optimizer, *args, **kwargs)
        except Exception:
            # Perhaps a dictionary of another size, so that the parameters did not fit.
            vocabulary.check(filename, _extra_state(filename), self.task, reset_optimizer)
            raise
        if extra_state is not None:
            vocabulary.check(filename, extra_state, self.task, reset_optimizer)
        return extra_state

    replace(Trainer, load_checkpoint, COMPARES)


def _extra_state(filename: str) -> Any:
    """That of a checkpoint; None where it cannot be read, which somebody else has said by now."""
    with contextlib.suppress(Exception):
        return checkpoint_utils.load_checkpoint_to_cpu(filename)["extra_state"]
    return None


def use_models_with_their_dictionary() -> None:
    """Let a model translate, classify or validate only data that have its dictionaries.

    This is what every command of fairseq but training loads its models with, and
    ``from_pretrained`` too.

    Ends with: a fairseq that compares dictionaries when it loads a model (none so far).
    """
    original = checkpoint_utils.load_model_ensemble_and_task
    if hasattr(original, COMPARES):
        return

    @functools.wraps(original)
    def load_model_ensemble_and_task(
        filenames: list[str],
        arg_overrides: dict[str, Any] | None = None,
        task: Any = None,
        strict: bool = True,
        suffix: str = "",
        num_shards: int = 1,
        state: Any = None,
    ) -> Any:
        models: list[Any] = []
        cfg = None
        for filename in filenames:
            if state is None:
                first = (filename, suffix, 0, num_shards)
                path = checkpoint_utils.get_maybe_sharded_checkpoint_filename(*first)
                if PathManager.exists(path):  # fairseq's function below says that it does not
                    state = checkpoint_utils.load_checkpoint_to_cpu(path, arg_overrides)
            if state is not None:
                # Before the model is built, which a dictionary of another size would end.
                task = task or _task(state)
                vocabulary.check(filename, state.get("extra_state"), task)
            loaded, cfg, task = original(
                [filename], arg_overrides, task, strict, suffix, num_shards, state
            )
            models += loaded
            state = None
        return models, cfg, task

    replace(checkpoint_utils, load_model_ensemble_and_task, COMPARES)


def _task(state: Any) -> Any:
    """The task of a checkpoint's options, as fairseq sets it up; None where it has no options."""
    # A checkpoint of old has one too, which fairseq made of its "args" when it read the file.
    if state.get("cfg") is not None:
        return tasks.setup_task(state["cfg"].task, from_checkpoint=True)
    return None
