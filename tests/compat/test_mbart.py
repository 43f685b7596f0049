"""The repairs of lrdrop_fairseq.compat.mbart, and the recipe of mBART that they let run."""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from fairseq.tasks import TASK_DATACLASS_REGISTRY
from fairseq.tasks.translation_from_pretrained_bart import TranslationFromPretrainedBARTTask
from hydra.core.config_store import ConfigStore
from omegaconf.errors import InterpolationKeyError

from lrdrop_fairseq.compat import mbart
from lrdrop_fairseq.models.bart import LRDropBART
from tests import toy_run
from tests.compat.common import without
from tests.toy import SIZES, make_task, write_data, write_public_file

TASK = ("--task=translation_from_pretrained_bart", "--langs=de,en")
LANGUAGES = ("--source-lang=de", "--target-lang=en")
SENTENCES = [(3 + i % 4, 2 + i % 5) for i in range(16)]
# Those of fairseq's recipe for mbart.cc25, which its layer norms need.
NORMS = ("encoder_normalize_before", "decoder_normalize_before", "layernorm_embedding")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(
        tmp_path_factory.mktemp("mbart") / "data",
        {"train": SENTENCES, "valid": SENTENCES[:4], "test": SENTENCES[:4]},
    )


def options(data: Path) -> Namespace:
    return Namespace(
        data=str(data), langs="de,en", source_lang="de", target_lang="en", dataset_impl=None,
        upsample_primary=1, left_pad_source=True, left_pad_target=False, load_alignments=False,
        max_source_positions=64, max_target_positions=64,
    )  # fmt: skip


def test_the_task_has_its_args(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TranslationFromPretrainedBARTTask.setup_task(options(data))
    task.load_dataset("test")
    batch = task.dataset("test").collater([task.dataset("test")[0]])
    assert batch["net_input"]["src_tokens"][0, -1] == task.source_dictionary.index("[de]")

    broken = TranslationFromPretrainedBARTTask
    monkeypatch.setattr(broken, "__init__", without(broken.__init__))
    with pytest.raises(AttributeError, match="args"):
        broken.setup_task(options(data)).load_dataset("test")


@pytest.mark.parametrize("task", ["multilingual_denoising", "multilingual_language_modeling"])
def test_the_options_of_a_public_mbart_become_a_configuration(task: str) -> None:
    """As fairseq makes one when it reads a checkpoint of the time before it had them."""
    args, config = Namespace(task=task), TASK_DATACLASS_REGISTRY[task]
    for name in ("train_subset", "valid_subset"):
        config.__dataclass_fields__[name].default = f"${{common.{name}}}"
    ConfigStore.instance().store(name=task, group="task", node=config, provider="fairseq")
    with pytest.raises(InterpolationKeyError, match="common.train_subset"):
        convert_namespace_to_omegaconf(args)
    mbart.find_the_names_of_subsets()
    args.train_subset = "mine"
    options = convert_namespace_to_omegaconf(args).task
    assert (options.train_subset, options.valid_subset) == ("mine", "valid")


def write_public_mbart(path: Path) -> dict[str, torch.Tensor]:
    """A file like ``mbart.cc25/model.pt``: the parameters, without the tied output projection."""
    dictionary = make_task().source_dictionary
    for symbol in ("[de]", "[en]", "<mask>"):
        dictionary.add_symbol(symbol)
    task: Any = Namespace(source_dictionary=dictionary, target_dictionary=dictionary)
    args = Namespace(arch="mbart_large", task="multilingual_denoising", **SIZES)
    vars(args).update(dict.fromkeys(NORMS, True))
    ARCH_CONFIG_REGISTRY[args.arch](args)
    torch.manual_seed(5)
    state = ARCH_MODEL_REGISTRY[args.arch].build_model(args, task).state_dict()
    state.pop("decoder.output_projection.weight")
    write_public_file(path, args, state)
    return state


def test_a_public_mbart_is_fine_tuned_and_translates(data: Path, tmp_path: Path) -> None:
    """With the flags of fairseq's recipe, down to one update of a learning rate of nearly 0."""
    assert ARCH_MODEL_REGISTRY["lr_drop_mbart_large"] is LRDropBART
    state = write_public_mbart(tmp_path / "model.pt")
    checkpoint = tmp_path / "checkpoints" / "checkpoint_last.pt"
    output = toy_run.with_plugin(
        "fairseq_cli.train", data, "--user-dir", toy_run.PLUGIN, *TASK, *LANGUAGES,
        "--arch=lr_drop_mbart_large", *(f"--{name.replace('_', '-')}" for name in NORMS),
        *(f"--{name.replace('_', '-')}={size}" for name, size in SIZES.items()),
        "--criterion=lr_drop_label_smoothed_cross_entropy", "--lr-drop-start=0",
        "--optimizer=adam", "--lr=1e-9", "--dropout=0.3", "--max-tokens=200", "--max-update=1",
        "--finetune-from-model", tmp_path / "model.pt", "--save-dir", checkpoint.parent,
        "--cpu", "--num-workers=0", "--log-format=simple", "--log-interval=1",
    )  # fmt: skip
    for term in ("hidden_loss", "attention_loss", "output_loss"):
        assert float(re.search(rf"\b{term}=([\d.e-]+)", output).group(1)) > 0  # type: ignore[union-attr]
    tuned = torch.load(checkpoint, weights_only=False)["model"]
    for name, value in state.items():
        torch.testing.assert_close(tuned[name], value, rtol=0.0, atol=1e-7)
    output = toy_run.with_plugin(
        "fairseq_cli.generate", data, "--user-dir", toy_run.PLUGIN, *TASK, *LANGUAGES,
        "--path", checkpoint, "--cpu", "--beam=2", "--max-len-b=8", "--num-workers=0",
    )  # fmt: skip
    assert len(toy_run.hypotheses(output)) == 4
