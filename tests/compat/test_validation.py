"""The repairs of lrdrop_fairseq.compat.validation: faults are there without, gone with them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.logging import metrics
from fairseq.tasks.sentence_prediction import SentencePredictionConfig
from fairseq.tasks.translation import TranslationConfig
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError

from tests.compat.common import without
from tests.toy import make_criterion, make_model, write_data


def validated(setup_task: Any, data: Path, processes: int) -> dict[str, float]:
    """The statistics that so many processes gather, as fairseq-validate does."""
    config = TranslationConfig(data=str(data), source_lang="de", target_lang="en")
    config._name, config.train_subset, config.dataset_impl = "translation", "train", None
    config.required_seq_len_multiple = 1
    task = setup_task(OmegaConf.structured(config))
    task.load_dataset("valid")
    model = make_model().eval()
    criterion = make_criterion("label_smoothed_cross_entropy", task=task, report_accuracy=True)
    logs = []
    for rank in range(processes):
        batches = task.get_batch_iterator(
            task.dataset("valid"),
            max_sentences=3,
            num_shards=processes,
            shard_id=rank,
            disable_iterator_cache=True,
        ).next_epoch_itr(shuffle=False)
        logs += [task.valid_step(batch, model, criterion.eval())[2] for batch in batches]
    with metrics.aggregate() as gathered:
        task.reduce_metrics(logs, criterion)
    found: dict[str, float] = dict(gathered.get_smoothed_values())
    return found


def test_a_process_may_have_no_batch(tmp_path: Path) -> None:
    """Two batches for three processes, and for five; the numbers are those of one process."""
    data = write_data(tmp_path / "data", {"valid": [(4, 4)] * 5})
    alone = validated(tasks.setup_task, data, 1)
    assert {"loss", "nll_loss", "accuracy"} <= alone.keys()
    for processes in (3, 5):
        assert validated(tasks.setup_task, data, processes) == pytest.approx(alone)
    with pytest.raises(KeyError, match="net_input"):
        validated(without(tasks.setup_task), data, 3)


def arguments(*more: str) -> Any:
    """The options as fairseq-validate understands them, converted as it does."""
    command = ["data", "--path", "c.pt", "--batch-size", "4", *more]
    parser = options.get_validation_parser()
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, command))


def test_the_command_line_needs_no_task_and_no_criterion(monkeypatch: pytest.MonkeyPatch) -> None:
    assert arguments().task is None
    for name in ("sentence_prediction", "lr_drop_sentence_prediction"):
        assert arguments("--task", name).task.classification_head_name.startswith("sentence_")
    given = ("--criterion", "sentence_prediction", "--classification-head-name", "other")
    assert arguments("--task", "sentence_prediction", *given).task.classification_head_name == (
        "other"
    )
    with monkeypatch.context() as broken:
        broken.delitem(tasks.TASK_REGISTRY, None)
        with pytest.raises(KeyError, match="None"):
            arguments()
    field = {f.name: f for f in fields(SentencePredictionConfig)}["classification_head_name"]
    monkeypatch.setattr(field, "default", "${criterion.classification_head_name}")
    with pytest.raises(InterpolationKeyError):
        arguments("--task", "sentence_prediction")
