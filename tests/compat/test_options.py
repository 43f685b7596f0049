"""The repairs of lrdrop_fairseq.compat.options: faults are there without, gone with them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fairseq import checkpoint_utils, options

from lrdrop_fairseq import compat
from lrdrop_fairseq.compat.refusals import Refused
from tests.compat.common import TRAIN, torchs_own_list, without
from tests.toy import write_data

PLUGIN = Path(compat.__file__).parents[1]


@pytest.mark.parametrize(
    ("flags", "bf16", "tpu"),
    [
        ([], False, False),
        (["--tpu"], False, True),
        (["--bf16"], True, False),
        (["--memory-efficient-bf16"], True, False),
        (["--bf16", "--tpu"], True, True),
    ],
)
def test_bf16_leaves_tpu_alone(flags: list[str], bf16: bool, tpu: bool) -> None:
    command = ["data", *TRAIN, *flags]
    parse = options.parse_args_and_arch
    args = parse(options.get_training_parser(), command)
    known, unknown = parse(options.get_training_parser(), [*command, "--?"], parse_known=True)
    assert unknown == ["--?"]
    assert (args.bf16, args.tpu) == (known.bf16, known.tpu) == (bf16, tpu)

    faulty = without(parse)(options.get_training_parser(), command)
    assert (faulty.bf16, faulty.tpu) == (bf16, bf16 or tpu)


def test_overrides_stay_those_given() -> None:
    """fairseq-validate parses a second time, for the options that were given, not the defaults."""
    parser = options.get_validation_parser()
    args = options.parse_args_and_arch(
        parser, ["data", "--task", "translation", "--bf16"], suppress_defaults=True
    )
    assert args.bf16 and not hasattr(args, "tpu") and not hasattr(args, "fp16")


def test_bf16_trains_and_its_checkpoint_loads(tmp_path: Path) -> None:
    write_data(tmp_path / "data", {"train": [(4, 4)] * 10, "valid": [(4, 4)] * 5})
    code = "from fairseq_cli.train import cli_main; cli_main()"
    command = [sys.executable, "-c", code, "data", *TRAIN, "--bf16", "--user-dir", str(PLUGIN)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    path = str(tmp_path / "checkpoints" / "checkpoint_best.pt")
    with torchs_own_list(), pytest.raises(Refused, match="Namespace"):
        checkpoint_utils.load_checkpoint_to_cpu(path)
    state = checkpoint_utils.load_checkpoint_to_cpu(path)
    assert state["cfg"].common.bf16 and not state["cfg"].common.tpu
    assert state["optimizer_history"][-1]["num_updates"] == 2
    # fairseq saves float32, so that the values show what the model was trained in.
    assert all(value.equal(value.bfloat16().float()) for value in state["model"].values())
