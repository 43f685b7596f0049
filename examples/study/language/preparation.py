"""A data directory of a study of language models; through prepare.sh."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from examples.study.chosen_lines import choose, write_lines
from examples.study.jobs import ROOT
from examples.study.language.data import Data
from examples.study.presets import preparations
from examples.study.processes import Commands
from scripts.corpora.prepare_text import TextError, find_file, read_lines

SCRIPTS = ROOT / "examples" / "language_model"


@dataclass
class Preparation(preparations.Preparation):
    """A data directory of text."""

    data: Data = None  # type: ignore[assignment]

    def sources(self) -> list[Path]:
        data = self.data
        return [find_file(data.text / name) for name in (data.train, data.valid, *data.test)]

    def run(self, commands: Commands) -> None:
        data = self.data
        train, valid, *tests = self.sources()
        if data.lines:
            output = self.place.output / "text" / data.name / "train"
            select_lines(train, data.lines, output)
            train = output
        text = ["--vocab-size", str(data.vocab_size)] if data.vocab_size else ["--words"]
        commands.run(self, [
            SCRIPTS / "prepare.sh", "--train", train, "--valid", valid,
            "--test", ",".join(map(str, tests)),
            "--output", self.folder, *text,
        ])  # fmt: skip


def select_lines(text: Path, count: int, output: Path) -> None:
    """Write ``count`` lines of a text to OUTPUT, in their order.

    They depend on its number of lines alone, so of one side of a parallel text they are those that
    a study of translation trains on with as many ``pairs``.

    Raises:
        TextError: it has fewer.
    """
    lines = list(read_lines(text))
    if len(lines) < count:
        raise TextError(f"{text} has {len(lines)} lines, and {count} are wanted: ask for fewer")
    write_lines(lines, choose(len(lines), count), output)
