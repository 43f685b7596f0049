"""What a training says of when the terms act, and that its checkpoints know it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from lrdrop_fairseq.criterions.term_start import RAMP, START
from tests.compat.test_run_state import FLAGS, run, updates

OURS = [
    *FLAGS,
    *"--arch lr_drop_transformer --criterion lr_drop_label_smoothed_cross_entropy".split(),
]
NO_TERMS = [f"--lr-drop-{name}-weight=0" for name in ("hidden", "attention", "output")]


@pytest.fixture(autouse=True)
def whole_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.mark.parametrize(
    ("flags", "message", "done"),
    [
        ("--max-update=3", "plain training until update 2, from there on LR-Drop's terms act", 3),
        (
            "--max-update=300 --max-epoch=1",
            "would act from update 201 on, but --max-epoch 1 ends this training after update 6",
            6,
        ),
        (
            "--max-update=300 --max-epoch=3 --update-freq=2,4 --lr-drop-start=7",
            "would act from update 7 on, but --max-epoch 3 ends this training after update 7",
            7,
        ),
        (
            "--max-update=99 --max-epoch=3 --update-freq=4 --skip-remainder-batch "
            "--lr-drop-start=4",
            "would act from update 4 on, but --max-epoch 3 ends this training after update 3",
            3,
        ),
        (  # as good as no limit
            "--max-update=3 --max-epoch=1000000000 --update-freq=2,1 --lr-drop-start=60",
            "would act from update 60 on, but --max-update 3 ends this training after update 3",
            3,
        ),
        (
            "--max-update=3 --lr-drop-start=60",
            "would act from update 60 on, but --max-update 3 ends this training after update 3",
            3,
        ),
        (
            "--max-update=3 --max-epoch=1 --lr-drop-start=3",
            "would act from update 3 on, but --max-update 3 ends this training after update 3",
            3,
        ),
        (
            "--max-update=3 --patience=3 --stop-time-hours=2",
            "--patience 3 or --stop-time-hours 2 can end this training before LR-Drop's terms act",
            3,
        ),
        (
            "--max-update=3 --lr-scheduler=reduce_lr_on_plateau --stop-min-lr=1e-9",
            "--stop-min-lr 1e-09 can end this training before LR-Drop's terms act, from update 2",
            3,
        ),
        (  # which is far from reaching that
            "--max-update=3 --lr-scheduler=inverse_sqrt --warmup-init-lr=1e-4 --stop-min-lr=1e-9",
            "plain training until update 2, from there on LR-Drop's terms act",
            3,
        ),
        ("--max-update=3 --patience=3 --lr-drop-start=0", "act, from the first update on", 3),
        ("--max-update=3 --lr-drop-start=0 --lr-drop-ramp=2", "act, from the first update on", 3),
        (
            "--max-update=3 --lr-drop-start=0 --lr-drop-ramp=5",
            "terms rise until update 5, but --max-update 3 ends this training after update 3",
            3,
        ),
        (f"--max-update=3 --lr-drop-start=60 {' '.join(NO_TERMS)}", "", 3),
    ],
)
def test_a_training_says_when_its_terms_act(
    data: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    flags: str,
    message: str,
    done: int,
) -> None:
    last = run(data, tmp_path, *OURS, *flags.split())
    assert updates(last) == done
    said = [record for record in caplog.records if "LR-Drop's terms" in record.getMessage()]
    if not message:
        assert not said
        return
    assert message in said[-1].getMessage()
    tells = "plain training until" in message or "act, from the first" in message
    assert (said[-1].levelno == logging.INFO) == tells
    assert ("all of it is plain" in said[-1].getMessage()) == ("would act" in message)


def test_terms_that_have_acted_are_not_switched_off_in_silence(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A higher --max-update moves a start that is a part of it."""

    def said(*flags: str) -> str:
        caplog.clear()
        run(data, tmp_path, *OURS, *flags)
        return " ".join(
            r.getMessage() for r in caplog.records if "LR-Drop's terms" in r.getMessage()
        )

    said("--max-update=4", "--lr-drop-start=0.5")
    assert said("--max-update=5", "--lr-drop-start=2") == "LR-Drop's terms act, since update 2"
    moved = said("--max-update=7", "--lr-drop-start=0.8")
    assert "have acted in this training since update 2 and had 100 % of their weights" in moved
    assert "from here, update 5, they have 0 %" in moved
    assert "--lr-drop-start 2 --lr-drop-ramp 0 lets them go on" in moved
    # Then they have not acted: from here on the start may be where it will.
    assert said("--max-update=8", "--lr-drop-start=8").count("have acted") == 1
    assert "have acted" not in said("--max-update=9", "--lr-drop-start=8")
    # Within an epoch: the second ends after update 12.
    assert "--max-epoch 2 ends this training after update 12" in said(
        "--max-update=90", "--lr-drop-start=80", "--max-epoch=2"
    )


def test_terms_that_have_risen_are_not_weakened_in_silence(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A higher --max-update makes a ramp that is a part of it longer, too."""
    rising = ("--lr-drop-start=0", "--lr-drop-ramp=0.5")
    begun = run(data, tmp_path, *OURS, *rising, "--max-update=4")
    assert (begun["extra_state"][START], begun["extra_state"][RAMP]) == (0, 2)
    assert caplog.text.count("LR-Drop's terms") == 1 and "act, from the first" in caplog.text
    run(data, tmp_path, *OURS, *rising, "--max-update=20")
    assert "since update 0 and had 100 % of their weights; from here, update 4," in caplog.text
    assert "50 %" in caplog.text and "--lr-drop-start 0 --lr-drop-ramp 2 lets" in caplog.text


def test_a_checkpoint_of_plain_training_says_nothing_of_terms(data: Path, tmp_path: Path) -> None:
    assert START not in run(data, tmp_path / "plain", *FLAGS)["extra_state"]
    late = run(data, tmp_path / "late", *OURS, "--max-update=2", "--lr-drop-start=7")
    assert late["extra_state"][START] == 7
