"""A small model trained on raw text with the project's scripts, and fairseq without the plugin."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from fairseq.models.transformer import TransformerModel

from lrdrop_fairseq import export as exporting
from tests import warm

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = str(ROOT / "lrdrop_fairseq")
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(warm.HERE),  # and nothing of this package
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "VIRTUAL_ENV": sys.prefix,
    "OMP_NUM_THREADS": "1",
}
NOUNS = {"Hund": "dog", "Katze": "cat", "Frau": "woman", "Kind": "child", "Haus": "house"}
VERBS = {"sieht": "sees", "findet": "finds"}
ADVERBS = {"schnell": "quickly", "früh": "early", "spät": "late"}

# The last: fairseq 0.12.3 without the plugin drops the last batch unless it is a multiple of that.
GENERATE = ("--cpu", "--beam=5", "--max-tokens=400", "--required-batch-size-multiple=1")

# Runs a module as `python -m` does, or a file, and fails if anything of the plugin was imported.
_WITHOUT_PLUGIN = """
import runpy, sys
sys.argv = sys.argv[1:]
if sys.argv[0].endswith(".py"):
    runpy.run_path(sys.argv[0], run_name="__main__")
else:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
assert not [name for name in sys.modules if name.startswith("lrdrop_fairseq")]
"""


class ToyRun(NamedTuple):
    """Folders of a data set of 20 test sentences and of a training on it; the latest checkpoint."""

    texts: Path
    data: Path
    checkpoint: Path


def _run(*command: object, cwd: Path | None = None) -> str:
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def with_plugin(module: str, *arguments: object) -> str:
    """What ``python -m module`` prints, with this package on the path."""
    return _run(sys.executable, "-m", module, *arguments, cwd=ROOT)


def without_plugin(module: str | Path, *arguments: object) -> str:
    """The same, or a file's output, where nothing of this package comes to be imported."""
    return _run(sys.executable, "-c", _WITHOUT_PLUGIN, module, *arguments, cwd=Path("/"))


def write_texts(folder: Path) -> None:
    """Raw sentences such as "Hund findet Haus, spät." and their translations word by word."""
    draw = random.Random(0)
    translations = NOUNS | VERBS | ADVERBS
    for split, count in {"train": 400, "valid": 20, "test": 20}.items():
        drawn = [[draw.choice(list(kind)) for kind in (NOUNS, VERBS, NOUNS, ADVERBS)]
                 for _ in range(count)]  # fmt: skip
        german = [sentence(words) for words in drawn]
        english = [sentence([translations[word] for word in words]) for words in drawn]
        (folder / f"{split}.de").write_text("".join(german))
        (folder / f"{split}.en").write_text("".join(english))


def sentence(words: list[str]) -> str:
    subject, verb, object_, adverb = words
    return f"{subject.capitalize()} {verb} {object_}, {adverb}.\n"


def prepare(texts: Path, data: Path, *flags: str) -> None:
    """``scripts/prepare.sh`` on the texts of a folder."""
    prefixes = [f"--{split}={texts}/{split}" for split in ("train", "valid", "test")]
    _run(ROOT / "scripts" / "prepare.sh", "--source-lang", "de", "--target-lang", "en",
         *(part for prefix in prefixes for part in prefix.split("=")),
         "--output", data, "--workers", "1", *flags)  # fmt: skip


def train(data: Path, save_dir: Path, updates: int, *flags: str) -> Path:
    """``scripts/train.sh`` with a model of one layer on either side; the last checkpoint."""
    _run(ROOT / "scripts" / "train.sh", data, "--method", "lrdrop", "--preset", "multi30k",
         "--save-dir", save_dir, "--", "--cpu", "--num-workers", "0", f"--max-update={updates}",
         "--max-tokens=400", "--warmup-updates=40", "--lr=0.003", "--dropout=0.1",
         "--lr-drop-start=0", "--lr-drop-output-weight=2.5",
         "--no-epoch-checkpoints", "--validate-interval=100",
         "--encoder-layers=1", "--decoder-layers=1", *flags)  # fmt: skip
    return save_dir / "checkpoint_last.pt"


def export(checkpoint: Path, out: Path, drop_optimizer: bool = False) -> Path:
    """``python -m lrdrop_fairseq.export`` in this process."""
    flags = ["--drop-optimizer"] if drop_optimizer else []
    assert exporting.main([str(checkpoint), str(out), *flags]) == 0
    return out


def hypotheses(output: str) -> dict[int, tuple[float, str]]:
    """Score (base 2) and tokens of each sentence, from what fairseq-generate printed."""
    lines = [line[2:].split("\t") for line in output.splitlines() if line.startswith("H-")]
    return {int(number): (float(score), tokens) for number, score, tokens in lines}


def from_pretrained(run: ToyRun) -> Any:
    """The trained model behind fairseq's interface for raw text."""
    return TransformerModel.from_pretrained(
        str(run.checkpoint.parent),
        checkpoint_file=run.checkpoint.name,
        data_name_or_path=str(run.data),
        bpe="sentencepiece",
        sentencepiece_model=str(run.data / "sentencepiece.model"),
    )


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()
