"""The Hydra YAML of every recipe is its shell script, flag by flag.

The recipe runs with a stand-in for fairseq-train, whose arguments fairseq's own parser turns into a
configuration. The YAML is composed as fairseq-hydra-train composes it. Both are compared field by
field, with every default filled in. To hold a new recipe, add it to RECIPES.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import options
from fairseq.checkpoint_utils import load_checkpoint_to_cpu
from fairseq.dataclass.initialize import add_defaults, hydra_init
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY, MODEL_DATACLASS_REGISTRY
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict

import lrdrop_fairseq  # noqa: F401  registers the architectures and criterions
from tests.toy import write_data

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"

# What may differ, and why; anything else is a mistake in one of the two.
ALLOWED = {
    "scoring": "only fairseq-generate reads it, and the command line cannot leave it out",
}


def translation_data(folder: Path, data: str) -> None:
    """As much of a prepared data directory as scripts/train.sh looks at."""
    directory = folder / data
    directory.mkdir(parents=True)
    source, target = directory.name.split(".")[1].split("-")
    prepared = {"source_lang": source, "target_lang": target, "pretokenized": True, "subsets": {}}
    (directory / "prepare.json").write_text(json.dumps(prepared))
    for language in (source, target):
        (directory / f"dict.{language}.txt").write_text("a 1\n")


@dataclass
class Recipe:
    """A shell recipe and the YAML that says the same."""

    command: str  # relative to examples/, with its arguments
    config: str  # examples/FOLDER/config/NAME.yaml as FOLDER/NAME
    overrides: list[str] = field(default_factory=list)  # for fairseq-hydra-train
    setup: Callable[[Path], None] = lambda folder: None  # makes what the recipe reads, in a folder

    def __str__(self) -> str:
        return " ".join([self.config, *self.overrides])


def translation(script: str, direction: str, method: str) -> Recipe:
    """A recipe of examples/translation; LR-Drop is the default of script and YAML."""
    dataset = script.split("_")[0]
    config = f"translation/{dataset}_{direction.replace('-', '_')}"
    command, overrides = f"translation/{script}.sh {direction}", []
    if method != "lrdrop":
        command, overrides = f"{command} --method {method}", [f"method={method}"]
    data = f"data/{dataset}.{direction}"
    return Recipe(command, config, overrides, lambda folder: translation_data(folder, data))


def glue_data(folder: Path) -> None:
    """As much of prepared data and of a checkpoint as finetune.sh looks at."""
    for task in GLUE.values():
        (folder / "data" / "glue" / task).mkdir(parents=True)
        (folder / "data" / "glue" / task / "prepare.json").write_text("{}")
    (folder / ROBERTA).parent.mkdir(parents=True)
    (folder / ROBERTA).write_bytes(b"")


GLUE = {"cola": "CoLA", "sst_2": "SST-2", "mrpc": "MRPC", "sts_b": "STS-B", "qqp": "QQP"}
GLUE |= {"mnli": "MNLI", "qnli": "QNLI", "rte": "RTE"}
ROBERTA = "models/model-roberta.base/roberta.base/model.pt"


def glue(name: str, method: str) -> Recipe:
    """A task of examples/language_understanding."""
    task = GLUE[name]
    command = f"language_understanding/finetune.sh {task} data/glue --model {ROBERTA}"
    command += f" --arch lr_drop_roberta_base --method {method} --seeds 1"
    command += f" --save-dir checkpoints/glue/{task}/{method}"
    overrides = [] if method == "lrdrop" else [f"method={method}"]
    return Recipe(command, f"language_understanding/{name}", overrides, glue_data)


def summarization_data(folder: Path) -> None:
    """As much of a prepared data directory and of a checkpoint as finetune.sh looks at."""
    data = folder / "data" / "cnn_dm"
    data.mkdir(parents=True)
    (data / "prepare.json").write_text('{"source_lang": "source", "target_lang": "target"}')
    for side in ("source", "target"):
        (data / f"dict.{side}.txt").write_text("a 1\n")
    (folder / BART).parent.mkdir(parents=True)
    state = {
        "args": argparse.Namespace(arch="bart_large", task="denoising"),
        "model": {"encoder.embed_tokens.weight": torch.zeros(5, 1024)},
        "optimizer_history": [{"criterion_name": "", "best_loss": None, "num_updates": 0}],
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
    }
    torch.save(state, folder / BART)


BART = "models/model-bart.large/bart.large/model.pt"


def summarization(method: str) -> Recipe:
    """examples/summarization, as the head of its YAML writes the command."""
    command = (
        f"summarization/finetune.sh data/cnn_dm --bart {BART} "
        f"--method {method} --save-dir checkpoints/cnn_dm/{method}-seed1"
    )
    return Recipe(command, "summarization/cnn_dm", [f"method={method}"], summarization_data)


def language_model_data(folder: Path) -> None:
    """As much of a prepared data directory as train.sh looks at."""
    data = folder / "data" / "wikitext-103"
    data.mkdir(parents=True)
    (data / "prepare.json").write_text('{"kind": "language_model", "subsets": {}}')
    (data / "dict.txt").write_text("a 1\n")
    (data / "train.idx").write_bytes(b"")


def language_model(preset: str, method: str) -> Recipe:
    """examples/language_model, as the heads of its YAML write the commands."""
    name = {"gpt": "gpt", "wiki103": "adaptive"}[preset]
    command = (
        f"language_model/train.sh data/wikitext-103 --preset {preset} "
        f"--method {method} --save-dir checkpoints/wikitext-103-{name}/{method}-seed1"
    )
    overrides = [f"method={method}"]
    if (preset, method) == ("wiki103", "plain"):
        overrides.append("optimization.max_update=286000")
    return Recipe(command, f"language_model/wikitext_103_{name}", overrides, language_model_data)


RECIPES = [
    *(translation("iwslt14_en_de", "de-en", method) for method in ("plain", "rdrop", "lrdrop")),
    translation("iwslt14_en_de", "en-de", "lrdrop"),
    translation("iwslt14_en_es", "en-es", "lrdrop"),
    translation("iwslt14_en_es", "es-en", "lrdrop"),
    translation("iwslt17_en_fr", "en-fr", "lrdrop"),
    translation("iwslt17_en_fr", "fr-en", "lrdrop"),
    translation("iwslt17_en_zh", "en-zh", "lrdrop"),
    translation("iwslt17_en_zh", "zh-en", "lrdrop"),
    translation("wmt14_en_de", "en-de", "lrdrop"),
    translation("wmt14_en_de", "de-en", "plain"),
    translation("wmt14_en_fr", "en-fr", "rdrop"),
    *(glue(name, "lrdrop") for name in GLUE),
    *(glue("sts_b", method) for method in ("plain", "rdrop")),
    *(summarization(method) for method in ("plain", "rdrop", "lrdrop")),
    *(language_model("gpt", method) for method in ("plain", "rdrop", "lrdrop")),
    *(language_model("wiki103", method) for method in ("plain", "rdrop", "lrdrop")),
]


def recorded_command(recipe: Recipe, folder: Path) -> list[str]:
    """The arguments that fairseq-train gets from the recipe, on a machine with a GPU."""
    commands = folder / "bin"
    commands.mkdir()
    # It fails, so that the recipe ends there.
    stand_in = '#!/bin/sh\nprintf "%s\\0" "$@" >"$RECORD"\nexit 1\n'
    (commands / "fairseq-train").write_text(stand_in)
    # scripts/train.sh adds --fp16 where there is a GPU, the YAML says it always.
    python = f'*cuda.is_available*) echo True ;;\n*) exec "{sys.executable}" "$@" ;;'
    (commands / "python").write_text(f'#!/bin/sh\ncase "$*" in\n{python}\nesac\n')
    for path in commands.iterdir():
        path.chmod(0o755)
    record = folder / "record"
    environment = {
        **os.environ,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": os.environ.get("VIRTUAL_ENV", str(folder)),
        "RECORD": str(record),
    }
    recipe.setup(folder)
    script, *arguments = recipe.command.split()
    command = [str(EXAMPLES / script), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert record.is_file(), f"fairseq-train was not started:\n{done.stdout}{done.stderr}"
    return record.read_text().removesuffix("\0").split("\0")


def composed(recipe: Recipe) -> Any:
    """The configuration that fairseq-hydra-train makes of the YAML."""
    folder, name = recipe.config.split("/")
    hydra_init(name)
    with initialize_config_dir(str(EXAMPLES / folder / "config")):
        config = compose(name, recipe.overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(config)  # ${hydra:...} can be used
    with open_dict(config):
        del config["hydra"]
    add_defaults(config)
    return OmegaConf.create(OmegaConf.to_container(config, resolve=True, enum_to_str=True))


@pytest.fixture(autouse=True)
def hydra_is_left_as_it_was() -> Iterator[None]:
    yield
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    if not isinstance(value, dict):
        return {name: value}
    items = (flat(entry, f"{name}.{key}" if name else key) for key, entry in value.items())
    return {key: entry for item in items for key, entry in item.items()}


def model_fields(model: Any) -> dict[str, Any]:
    """All options of a model, set, from its architecture, or from its command-line defaults."""
    values = vars(model) if isinstance(model, argparse.Namespace) else dict(model)
    arch = values["_name"]
    if arch in MODEL_DATACLASS_REGISTRY:
        return values
    parser = argparse.ArgumentParser(allow_abbrev=False)
    ARCH_MODEL_REGISTRY[arch].add_args(parser)
    defaults = vars(parser.parse_args([]))
    if isinstance(model, argparse.Namespace):  # holds the options of everything else as well
        values = {key: value for key, value in values.items() if key in {"_name", *defaults}}
    arguments = argparse.Namespace(**values)
    ARCH_CONFIG_REGISTRY[arch](arguments)
    set_by_arch = {key: entry for key, entry in vars(arguments).items() if key in defaults}
    return {**defaults, **values, **set_by_arch}


def fields(config: Any) -> dict[str, Any]:
    """Every field of a configuration by its dotted name, with all defaults filled in."""
    sections = {key: config[key] for key in config if key != "model"}
    everything: Any = OmegaConf.to_container(OmegaConf.create(sections), resolve=True)
    # The YAML is used in the root of the repository; a path from there is that path.
    everything["common"]["user_dir"] = str(ROOT / everything["common"]["user_dir"])
    return flat({**everything, "model": model_fields(config.model)})


def differences(shell: dict[str, Any], yaml: dict[str, Any]) -> list[str]:
    """One line for each field that differs and is neither allowed to nor part of what is."""
    absent = "(absent)"
    names = (name for name in shell.keys() | yaml.keys() if name.split(".")[0] not in ALLOWED)
    return [
        f"{name}: {shell.get(name, absent)!r} in the shell, {yaml.get(name, absent)!r} in the YAML"
        for name in sorted(names)
        if shell.get(name, absent) != yaml.get(name, absent)
    ]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_yaml_is_the_shell_recipe(recipe: Recipe, tmp_path: Path) -> None:
    arguments = recorded_command(recipe, tmp_path)
    parsed = options.parse_args_and_arch(options.get_training_parser(), arguments)
    shell = fields(convert_namespace_to_omegaconf(parsed))
    found = differences(shell, fields(composed(recipe)))
    assert not found, "\n".join(found)


def test_every_yaml_is_held() -> None:
    files = {path.relative_to(EXAMPLES) for path in EXAMPLES.glob("*/config/*.yaml")}
    assert {f"{path.parts[0]}/{path.stem}" for path in files} == {r.config for r in RECIPES}


def test_a_difference_is_found_and_named(tmp_path: Path) -> None:
    """In a section of fairseq, in the criterion, in the model; a typing error too."""
    recipe = translation("iwslt14_en_de", "de-en", "lrdrop")
    changes = ["optimization.clip_norm=1", "criterion.lr_drop_hidden_weight=0", "model.dropout=0"]
    typo = ["+model.encoder_layer=3"]
    found = differences(
        fields(composed(recipe)), fields(composed(replace(recipe, overrides=[*changes, *typo])))
    )
    assert [line.split(":")[0] for line in found] == [
        "criterion.lr_drop_hidden_weight",
        "model.dropout",
        "model.encoder_layer",
        "optimization.clip_norm",
    ]


def run_module(module: str, arguments: list[str], folder: Path) -> None:
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]


SIZES = {
    "encoder_embed_dim": 8, "encoder_ffn_embed_dim": 8, "encoder_layers": 1,
    "decoder_embed_dim": 8, "decoder_ffn_embed_dim": 8, "decoder_layers": 1,
}  # fmt: skip


def test_yaml_trains_what_the_shell_recipe_trains(tmp_path: Path) -> None:
    """Two updates of a small model, both ways: the same parameters to the last bit."""
    recipe = translation("iwslt14_en_de", "de-en", "lrdrop")
    arguments = recorded_command(recipe, tmp_path)
    folders = [tmp_path / "shell", tmp_path / "yaml"]
    for folder in folders:
        pairs = [(length % 5 + 1, length % 4 + 1) for length in range(12)]
        (folder / "data").mkdir(parents=True)
        write_data(folder / "data" / "iwslt14.de-en", {"train": pairs, "valid": pairs[:3]})
    sizes = [f"--{name.replace('_', '-')}={size}" for name, size in SIZES.items()]
    shell = [argument for argument in arguments if argument != "--fp16"]
    run_module("fairseq_cli.train", [*shell, *sizes, "--max-update=2", "--cpu"], folders[0])

    # In the root of the repository, as the documentation says: with these two folders of it.
    for name in ("examples", "lrdrop_fairseq"):
        (folders[1] / name).symlink_to(ROOT / name)
    run_module(
        "fairseq_cli.hydra_train",
        ["--config-dir=examples/translation/config", "--config-name=iwslt14_de_en"]
        + ["common.fp16=false", "common.cpu=true", "optimization.max_update=2"]
        + [f"+model.{name}={size}" for name, size in SIZES.items()],
        folders[1],
    )
    save_dir = Path("checkpoints", "iwslt14.de-en", "lrdrop-seed1")
    states = [
        load_checkpoint_to_cpu(str(folder / save_dir / "checkpoint_last.pt")) for folder in folders
    ]
    assert [state["optimizer_history"][-1]["num_updates"] for state in states] == [2, 2]
    one, other = (state["model"] for state in states)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    # Hydra's own files lie with the checkpoints, nowhere else.
    assert {path.name for path in folders[1].iterdir()} == {
        *("checkpoints", "data", "examples", "lrdrop_fairseq")
    }
    assert (folders[1] / save_dir / ".hydra" / "overrides.yaml").is_file()
