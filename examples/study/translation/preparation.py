"""A data directory of a study of translation; through scripts/prepare.sh."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from examples.study.jobs import SCRIPTS
from examples.study.presets import preparations
from examples.study.processes import Commands
from examples.study.translation.data import Data
from examples.study.translation.select_pairs import select_pairs
from scripts.corpora.prepare_text import find_text


@dataclass
class Preparation(preparations.Preparation):
    """A data directory of parallel text."""

    data: Data = None  # type: ignore[assignment]

    def sources(self) -> list[Path]:
        data = self.data
        return [
            find_text(str(data.text / name), language)
            for name in (data.train, data.valid, *data.test)
            for language in (data.source_lang, data.target_lang)
        ]

    def run(self, commands: Commands) -> None:
        data, train = self.data, self.data.text / self.data.train
        languages = (data.source_lang, data.target_lang)
        if data.pairs:
            train = self.place.output / "text" / data.name / "train"
            select_pairs(data.text / data.train, languages, data.pairs, train)
        text = ["--vocab-size", str(data.vocab_size)] if data.vocab_size else ["--pretokenized"]
        tests = ",".join(str(data.text / name) for name in data.test)
        commands.run(self, [
            SCRIPTS / "prepare.sh", "--source-lang", data.source_lang,
            "--target-lang", data.target_lang, "--train", train, "--valid", data.text / data.valid,
            "--test", tests, "--output", self.folder, *text,
        ])  # fmt: skip
