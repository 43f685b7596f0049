"""What several test modules share because it takes seconds to make."""

from __future__ import annotations

import pytest

from tests import toy_run as toy


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory: pytest.TempPathFactory) -> toy.ToyRun:
    """Raw text through prepare.sh and train.sh; the model has learned most of the words."""
    folder = tmp_path_factory.mktemp("toy run")
    toy.write_texts(folder)
    toy.prepare(folder, folder / "data", "--vocab-size", "50")
    checkpoint = toy.train(
        folder / "data", folder / "checkpoints", 120,
        "--encoder-normalize-before", "--decoder-normalize-before",
        "--eval-bleu", "--eval-bleu-args", '{"max_len_b": 30}',
    )  # fmt: skip
    return toy.ToyRun(folder, folder / "data", checkpoint)


@pytest.fixture(scope="session")
def generated(toy_run: toy.ToyRun) -> dict[int, tuple[float, str]]:
    """Scores and tokens that fairseq-generate prints for the test set, with the plugin."""
    output = toy.with_plugin("fairseq_cli.generate", toy_run.data, "--path", toy_run.checkpoint,
                             "--user-dir", toy.PLUGIN, *toy.GENERATE)  # fmt: skip
    found = toy.hypotheses(output)
    assert len(found) == 20 and len(set(found.values())) > 5
    return found
