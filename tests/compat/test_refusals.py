"""The repairs of lrdrop_fairseq.compat.refusals."""

from __future__ import annotations

import sys

import pytest

from lrdrop_fairseq.compat import refusals
from lrdrop_fairseq.compat.refusals import Refused


def test_a_refusal_is_a_sentence_and_a_fault_has_its_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    refusals.end_with_a_sentence()
    hook = sys.excepthook
    refusals.end_with_a_sentence()
    assert sys.excepthook is hook
    hook(Refused, Refused("not this file"), None)
    assert capsys.readouterr().err == "error: not this file\n"
    hook(KeyError, KeyError("a"), None)
    assert capsys.readouterr().err == "KeyError: 'a'\n"
