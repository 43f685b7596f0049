"""What the first documents tell a new user to type, run as it stands, on a corpus of 400 sentences.

The commands get a small model and few updates, and nothing else is changed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fairseq.models import ARCH_MODEL_REGISTRY
from fairseq.models.transformer import TransformerModel, base_architecture

from tests import toy_run
from tests.documents.markdown import ROOT, blocks

SMALL = "--num-workers 0 " + " ".join(
    f"--{side}-layers 1 --{side}-embed-dim 16 --{side}-ffn-embed-dim 16 --{side}-attention-heads 2"
    for side in ("encoder", "decoder")
)


def code(document: str, beginning: str) -> str:
    """The one block of a document that begins so."""
    texts = [block.text for block in blocks(ROOT / document)]
    (found,) = [text for text in texts if text.startswith(beginning)]
    return found


def changed(text: str, **changes: str) -> str:
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def run(text: str, folder: Path) -> str:
    """What the commands print, typed in a folder that has the repository's two as it has them."""
    command = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(
        command, cwd=folder, env=toy_run.ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder after the lines of the README, and what they printed."""
    folder = tmp_path_factory.mktemp("used")
    for name in ("lrdrop_fairseq", "scripts"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "DIR").mkdir()
    toy_run.write_texts(folder / "DIR")
    text = code("README.md", "scripts/prepare.sh ")
    text = changed(text, **{
        "--output data": "--output data --vocab-size 50 --workers 1",
        "--max-update 30000": f"--max-update 3 {SMALL}",
    })  # fmt: skip
    return folder, run(text, folder)


def test_the_readme_goes_from_text_to_a_score(used: tuple[Path, str]) -> None:
    folder, printed = used
    assert "BLEU" in printed and "version:" in printed
    assert "hidden_loss" in printed  # the terms acted, in the last of three updates
    assert (folder / "checkpoints" / "checkpoint_best.pt").is_file()


def test_it_translates_raw_text(used: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(used[0])
    printed: list[str] = []
    exec(code("docs/checkpoints.md", "from fairseq.models"), {"print": printed.append})
    assert len(printed) == 1 and isinstance(printed[0], str)


def test_the_update_with_the_lowest_loss_is_read_from_a_log(
    used: tuple[Path, str], tmp_path: Path
) -> None:
    line = next(line for line in used[1].splitlines() if " valid on " in line)
    fields = re.compile(r"nll_loss [0-9.]+ (.*) num_updates [0-9]+")
    (tmp_path / "checkpoints").mkdir()
    with (tmp_path / "checkpoints" / "train.log").open("w") as log:
        for loss, updates in (("10.5", 50), ("5.25", 100), ("5.125", 150), ("5.5", 200)):
            changed, count = fields.subn(rf"nll_loss {loss} \1 num_updates {updates}", line)
            assert count == 1
            log.write(f"{changed}\nepoch 001: 50 / 100 loss=1.0, num_updates=150\n")
    found = run(code("docs/options.md", "sed -n 's/.* valid on"), tmp_path)
    assert found == "5.125 bits after 150 updates\n"


def test_it_leaves_the_plugin_behind(used: tuple[Path, str]) -> None:
    folder, _ = used
    export = "python -m lrdrop_fairseq.export checkpoints/checkpoint_last.pt model.pt"
    printed = run(code("docs/checkpoints.md", export), folder)
    assert len(toy_run.hypotheses(printed)) == 20
    assert (folder / "ct2" / "model.bin").is_file()


def test_it_measures_the_dropout_gap(used: tuple[Path, str]) -> None:
    folder, _ = used
    for name in ("plain", "lrdrop"):
        shutil.copytree(folder / "checkpoints", folder / name)
    printed = run(code("docs/checkpoints.md", "python -m lrdrop_fairseq.dropout_gap"), folder)
    assert "lrdrop" in printed.splitlines()[0] and "hidden" in printed
    assert (folder / "gap.png").is_file()


def test_an_architecture_of_your_own() -> None:
    names: dict[str, Any] = {"MyTransformer": TransformerModel}
    names["my_architecture"] = base_architecture
    exec(code("docs/architectures.md", "from fairseq.models"), names)
    model = ARCH_MODEL_REGISTRY["my_lr_drop_transformer"]
    assert model is names["MyLRDropTransformer"] and issubclass(model, TransformerModel)
