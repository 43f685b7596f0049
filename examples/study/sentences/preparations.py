"""What the cells of a study of sentences begin with: encoders, and data directories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from examples.study.jobs import MODULE, ROOT, Job
from examples.study.processes import Commands
from examples.study.sentences.draw_examples import draw_examples
from examples.study.sentences.studies import Cell, Data, Study

SCRIPTS = ROOT / "examples" / "language_understanding"
SUBSETS = ("train", "valid", "test")
# Of the files of a pretrained model those that an import may read.
IMPORTED = (".json", ".txt", ".model", ".safetensors", ".bin")


@dataclass
class Importing(Job):
    """The pretrained model with the pieces of one set's text alone.

    In a closed study that is exact, and most of what Adam does in an update of a small model is to
    visit the embeddings of pieces that never occur.
    """

    data: Data = None  # type: ignore[assignment]

    @property
    def study(self) -> Study:
        return self.place.study  # type: ignore[return-value]

    @property
    def settings(self) -> str:
        return f"{self.study.pretrained}: pieces of {self.data.source}"

    def sources(self) -> list[Path]:
        files = sorted(self.study.pretrained_path.iterdir())
        pretrained = [path for path in files if path.is_file() and path.suffix in IMPORTED]
        return [*pretrained, *map(self.data.file, SUBSETS)]

    def complete(self) -> bool:
        return (self.folder / "import.json").is_file()

    def run(self, commands: Commands) -> None:
        commands.run(self, [
            *MODULE, "lrdrop_fairseq.import_encoder", self.study.pretrained_path,
            self.folder, "--pieces-of", *map(self.data.file, SUBSETS),
        ])  # fmt: skip


@dataclass
class Preparation(Job):
    """The data directory of a data set and a seed; through prepare_text.sh."""

    cell: Cell = None  # type: ignore[assignment]
    encoder: Path = None  # type: ignore[assignment]

    @property
    def settings(self) -> str:
        study: Study = self.place.study  # type: ignore[assignment]
        return f"{study.data_settings(self.cell.data)}; seed {self.cell.seed}"

    def sources(self) -> list[Path]:
        return list(map(self.cell.data.file, SUBSETS))

    def complete(self) -> bool:
        return (self.folder / "prepare.json").is_file()

    def run(self, commands: Commands) -> None:
        data, seed = self.cell.data, self.cell.seed
        train = self.place.output / "text" / self.cell.data_name / "train.tsv"
        draw_examples(data.file("train"), data.examples, seed, train)
        commands.run(self, [
            SCRIPTS / "prepare_text.sh", "--train", train, "--valid", data.file("valid"),
            "--test", data.file("test"), "--encoder", self.encoder, "--output", self.folder,
        ])  # fmt: skip
