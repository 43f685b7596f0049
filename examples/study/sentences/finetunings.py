"""The fine-tuning of a cell; through finetune.sh."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from examples.study import cell_jobs
from examples.study.jobs import MODULE
from examples.study.processes import Commands
from examples.study.sentences.preparations import SCRIPTS
from examples.study.sentences.studies import Cell, Study

LOG_INTERVAL = 10  # updates


@dataclass
class Finetuning(cell_jobs.Training):
    """All methods go through LR-Drop's criterion, which with no weights is fairseq's."""

    cell: Cell = None  # type: ignore[assignment]
    encoder: Path = None  # type: ignore[assignment]

    @property
    def study(self) -> Study:
        return self.place.study  # type: ignore[return-value]

    @property
    def data(self) -> Path:
        """What finetune.sh has as DATA."""
        return self.place.output / "data"

    @property
    def run_folder(self) -> Path:
        return self.folder / f"seed{self.cell.seed}"

    @property
    def train_log(self) -> Path:
        return self.run_folder / "train.log"

    def scorable(self) -> bool:
        """Of a schedule that ends at the last update the middle says nothing."""
        return False

    @property
    def environment(self) -> list[str]:
        """What a command begins with: on a CPU it sees no GPU."""
        return ["env", "CUDA_VISIBLE_DEVICES="] if self.place.device == "cpu" else []

    def run(self, commands: Commands) -> None:
        encoder = self.encoder
        if self.cell.method.from_scratch:
            encoder = self.folder / "random"
            if not (encoder / "import.json").is_file():
                made_by = "examples.study.sentences.random_encoder"
                seed = ("--seed", str(self.cell.seed))
                commands.run(self, [*MODULE, made_by, self.encoder, encoder, *seed], training=True)
        command: list[str | Path] = [
            SCRIPTS / "finetune.sh", self.cell.data_name, self.data, "--encoder", encoder,
            "--method", "lrdrop", "--save-dir", self.folder, "--seeds", str(self.cell.seed),
            "--", *self._flags(),
        ]  # fmt: skip
        commands.run(self, [*self.environment, *command], training=True)
        self.done()

    def _flags(self) -> list[str]:
        """What goes to fairseq-train behind finetune.sh's own."""
        study, method = self.study, self.cell.method
        updates, every = str(method.updates), str(study.validate_every)
        flags = [
            *study.flags, *method.flags, *method.weight_flags,
            f"--lr-drop-start={method.start}", f"--lr-drop-ramp={method.ramp}",
            "--max-update", updates, "--total-num-update", updates,
            "--warmup-updates", str(method.warmup),
            "--validate-interval-updates", every, "--save-interval-updates", every,
            "--keep-interval-updates", "1",
            "--validate-interval", "1000000", "--save-interval", "1000000",
            "--log-format", "json", "--log-interval", str(min(LOG_INTERVAL, study.validate_every)),
        ]  # fmt: skip
        if self.cell.data.metric == "mcc":
            flags += ["--report-mcc", "--best-checkpoint-metric", "mcc"]
        return [*flags, "--cpu"] if self.place.device == "cpu" else flags
