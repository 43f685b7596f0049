"""Identity of dictionaries: what counts, how it travels, and where other data are refused."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data import Dictionary
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from fairseq.trainer import Trainer

from lrdrop_fairseq.vocabulary import VocabularyError, fingerprint, identities
from tests import toy

EXTRA = {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}, "val_loss": 1.0}


def write_data(folder: Path, words: list[str]) -> str:
    """Data whose dictionary has these words, the same for both languages."""
    toy.write_data(folder, {})
    for language in ("de", "en"):
        (folder / f"dict.{language}.txt").write_text("".join(f"{word} 1\n" for word in words))
    return str(folder)


def make_task(data: str) -> Any:
    config = TranslationConfig(data=data, source_lang="de", target_lang="en")
    return TranslationTask.setup_task(config)


class Files(NamedTuple):
    """Folders with words, in another order, and with one more; a checkpoint of the first."""

    same: str
    other: str
    larger: str
    checkpoint: str
    silent: str  # the same checkpoint without the identity, as public ones are


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("vocabulary")
    words = [f"w{number}" for number in range(27)]
    same = write_data(folder / "same", words)
    checkpoint = folder / "checkpoint.pt"
    trainer = toy.make_trainer("--source-lang=de", "--target-lang=en", task=make_task(same))
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(str(checkpoint), EXTRA)
    state = torch.load(checkpoint)
    del state["extra_state"]["dictionaries"]
    torch.save(state, folder / "silent.pt")
    return Files(
        same,
        write_data(folder / "other", words[::-1]),
        write_data(folder / "larger", [*words, "more"]),
        str(checkpoint),
        str(folder / "silent.pt"),
    )


def test_words_and_their_order_count_and_nothing_else() -> None:
    assert fingerprint(["a", "b"]) != fingerprint(["b", "a"]) != fingerprint(["a", "c"])
    assert fingerprint(["a", "b"]) != fingerprint(["a b"])
    assert fingerprint(["a", "b", "<mask>"]) == fingerprint(["a", "b"])
    assert fingerprint(["a", "<mask>", "b"]) != fingerprint(["a", "b"])


def test_dictionaries_of_every_kind_of_task() -> None:
    first, second = Dictionary(), Dictionary()
    second.add_symbol("word")
    one, two = fingerprint(first.symbols), fingerprint(second.symbols)
    translation = SimpleNamespace(source_dictionary=first, target_dictionary=second)
    assert identities(translation) == {"source": one, "target": two}
    sentences = SimpleNamespace(
        source_dictionary=first, target_dictionary=second, label_dictionary=second
    )
    assert identities(sentences) == {"source": one, "labels": two}
    sentences.label_dictionary = first  # numbers: fairseq puts the words' dictionary there
    assert identities(sentences) == {"source": one}
    many = SimpleNamespace(dicts={"de": first, "en": second}, source_dictionary=first)
    assert identities(many) == {"de": one, "en": two}
    assert identities(SimpleNamespace()) == {}


def test_the_checkpoint_says_which(files: Files) -> None:
    found = torch.load(files.checkpoint)["extra_state"]["dictionaries"]
    assert found == identities(make_task(files.same))
    assert found["source"] != identities(make_task(files.other))["source"]


@pytest.mark.parametrize("fine_tuning", [False, True])
def test_training_goes_on_with_the_same_dictionary_only(files: Files, fine_tuning: bool) -> None:
    resumed = toy.make_trainer(task=make_task(files.same))
    assert resumed.load_checkpoint(files.checkpoint, fine_tuning) is not None
    for data in (files.other, files.larger):
        trainer = toy.make_trainer(task=make_task(data))
        with pytest.raises(VocabularyError) as refused:
            trainer.load_checkpoint(files.checkpoint, fine_tuning)
        assert files.checkpoint in str(refused.value) and data in str(refused.value)
        assert "source and target" in str(refused.value)
    # fairseq itself takes the one, and calls the other an architecture.
    plain = inspect.unwrap(Trainer.load_checkpoint)
    assert plain(toy.make_trainer(task=make_task(files.other)), files.checkpoint, fine_tuning)
    with pytest.raises(Exception, match="architectures match"):
        plain(toy.make_trainer(task=make_task(files.larger)), files.checkpoint, fine_tuning)


def load(checkpoint: str, data: str, from_options: bool) -> Any:
    """The task as a command gives it, or as the checkpoint's options say, its data apart."""
    task = None if from_options else make_task(data)
    function = checkpoint_utils.load_model_ensemble_and_task
    return function([checkpoint], {"data": data} if from_options else None, task)


@pytest.mark.parametrize("from_options", [False, True], ids=["generate", "from_pretrained"])
def test_a_model_is_used_with_its_dictionary_only(files: Files, from_options: bool) -> None:
    models, config, task = load(files.checkpoint, files.same, from_options)
    assert len(models) == 1 and config is not None and task.cfg.data == files.same
    for data in (files.other, files.larger):
        with pytest.raises(VocabularyError, match="another dictionary"):
            load(files.checkpoint, data, from_options)
    plain = inspect.unwrap(checkpoint_utils.load_model_ensemble_and_task)
    assert len(plain([files.checkpoint], task=make_task(files.other))[0]) == 1


def test_every_model_of_an_ensemble_is_compared(files: Files) -> None:
    function = checkpoint_utils.load_model_ensemble_and_task
    both = [files.silent, files.checkpoint]
    assert len(function(both, task=make_task(files.same))[0]) == 2
    with pytest.raises(VocabularyError, match=files.checkpoint):
        function(both, task=make_task(files.other))
    with pytest.raises(OSError, match="not found: nowhere.pt"):
        function(["nowhere.pt"], task=make_task(files.same))


def test_a_checkpoint_that_says_nothing_passes_with_a_note(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    load(files.silent, files.other, from_options=False)
    toy.make_trainer(task=make_task(files.other)).load_checkpoint(files.silent)
    notes = [record.message for record in caplog.records if "does not say" in record.message]
    assert len(notes) == 2
    assert all(files.silent in note and files.other in note for note in notes)


def test_fine_tuning_may_tell_other_labels_apart() -> None:
    from lrdrop_fairseq.vocabulary import check

    words, labels, others = Dictionary(), Dictionary(), Dictionary()
    labels.add_symbol("yes")
    others.add_symbol("no")
    trained = SimpleNamespace(source_dictionary=words, label_dictionary=labels)
    new = SimpleNamespace(source_dictionary=words, label_dictionary=others)
    extra_state = {"dictionaries": identities(trained)}
    check("x.pt", extra_state, new, new_labels=True)
    with pytest.raises(VocabularyError, match=r"\(labels\)"):
        check("x.pt", extra_state, new)


@pytest.mark.parametrize("record", [None, "x{", "[]", "{}", '{"dictionary_sha256": "%s"}'])
def test_a_dictionary_that_its_folder_was_prepared_with(tmp_path: Path, record: str | None) -> None:
    """Or of which nobody says what it was; a damaged record is the scripts' matter."""
    data = write_data(tmp_path / "data", ["a", "b"])
    symbols = make_task(data).source_dictionary.symbols
    if record is not None:
        text = record % fingerprint(symbols) if "%s" in record else record
        (tmp_path / "data" / "prepare.json").write_text(text)
    assert make_task(data).target_dictionary.symbols == symbols


def test_a_dictionary_of_another_preparation_is_refused(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", ["a", "b"])
    expected = fingerprint(make_task(data).source_dictionary.symbols)
    (tmp_path / "data" / "prepare.json").write_text(f'{{"dictionary_sha256": "{expected}"}}')
    (tmp_path / "data" / "dict.de.txt").write_text("a 1\n")
    with pytest.raises(VocabularyError, match=r"dict.de.txt is not the dictionary that .*prepare"):
        make_task(data)
