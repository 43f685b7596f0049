"""The repair of lrdrop_fairseq.compat.unknown_models: the fault is there without, gone with it."""

from __future__ import annotations

from argparse import Namespace

import pytest
from fairseq import models

from lrdrop_fairseq.compat.refusals import Refused
from tests.compat.common import without
from tests.toy import SIZES, make_task


def test_an_architecture_that_nothing_registers_is_named() -> None:
    old = Namespace(arch="registered_nowhere", eval_bleu_args="{}")
    for options in (old, Namespace(_name="registered_nowhere", arch="transformer")):
        with pytest.raises(Refused, match="'registered_nowhere' is unknown: add the --user-dir"):
            models.build_model(options, make_task(), from_checkpoint=True)
        with pytest.raises(Refused, match="'registered_nowhere' is unknown: correct its name"):
            models.build_model(options, make_task())
        with pytest.raises((IndexError, AssertionError)):
            without(models.build_model)(options, make_task())
    near = r"'lr_drop_transfomer' is unknown \(there is 'lr_drop_transformer'\): correct its name"
    with pytest.raises(Refused, match=near):
        models.build_model(Namespace(_name="lr_drop_transfomer"), make_task())
    known = models.build_model(Namespace(arch="transformer", **SIZES), make_task())
    assert type(known) is models.MODEL_REGISTRY["transformer"]
