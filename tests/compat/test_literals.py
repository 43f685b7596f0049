"""The repairs of lrdrop_fairseq.compat.literals: faults are there without, gone with them."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fairseq
import pytest
from fairseq.models import ARCH_CONFIG_REGISTRY, MODEL_DATACLASS_REGISTRY, MODEL_REGISTRY
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_DATACLASS_REGISTRY, TASK_REGISTRY
from fairseq.utils import eval_bool, eval_str_dict, eval_str_list

from lrdrop_fairseq.compat.literals import literal
from lrdrop_fairseq.compat.refusals import Refused

FAIRSEQ = Path(fairseq.__file__).parent
CODE = "(open({!r}, 'w'), None)[1]"


def _callers_of_eval() -> list[str]:
    """The modules of fairseq's package in whose source ``eval`` or ``exec`` is called."""
    found = []
    for path in sorted(FAIRSEQ.rglob("*.py")):
        parts = path.relative_to(FAIRSEQ.parent).with_suffix("").parts
        text = path.read_text(encoding="utf-8")
        if parts[1] != "examples" and re.search(r"(?<![\w.])(eval|exec)\(", text):
            found.append(".".join(parts))
    return found


def test_every_module_of_fairseq_evaluates_literals_alone() -> None:
    modules = _callers_of_eval()
    assert {"fairseq.utils", "fairseq.optim.adam", "fairseq.criterions.ctc"} < set(modules)
    found = [name for name in modules if vars(importlib.import_module(name))["eval"] is not literal]
    assert found == []


@pytest.mark.parametrize("read", [eval_str_list, eval_str_dict, eval_bool])
def test_what_stands_in_an_option_is_not_run(
    read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "marker"
    code = CODE.format(str(marker))
    with pytest.raises(Refused, match=r"an option is \"\(open.* is not run"):
        read(code)
    assert not marker.exists()
    monkeypatch.delattr(fairseq.utils, "eval")  # Python's own is next
    read(f"[{code}] and '1'" if read is eval_str_list else code)
    assert marker.exists()


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "print", "f(1)", "[].append", "[x for x in (1,)]", "lambda: 1", "f'{1}'",
        "1 if 2 else 3", "(x := 1)", "2 ** 2", "[0] * 10 ** 9", "[0] * 99999999",
        "'a' * 99999999", "[1] * 'a'", "1 / 0", "{'a': print}", "{**{}}", "[*[1]]",
        "(" * 500 + ")" * 500, "-" * 9000 + "1", "1," * 20000, "import os",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="an option is "):
        literal(text)


def test_not_a_string() -> None:
    """fairseq's eval_bool takes a TypeError for the default."""
    assert eval_bool(True, default=False) is False
    assert eval_bool("1") is True and eval_bool("False") is False
    assert eval_str_dict("{'name': 'scaled_dot_product', 'dropout': None}")["dropout"] is None
    assert literal(" (0.9, 0.98)") == (0.9, 0.98)


def _defaults() -> Iterator[Any]:
    """The default values of all architectures, tasks, criterions, optimizers and so on."""
    for configure in ARCH_CONFIG_REGISTRY.values():
        # What lightconv's language models take from options of their own.
        arguments = argparse.Namespace(attention_dropout=0.0, dropout=0.0)
        configure(arguments)
        yield from vars(arguments).values()
    dataclass = [MODEL_DATACLASS_REGISTRY, TASK_DATACLASS_REGISTRY]
    classes = [MODEL_REGISTRY, TASK_REGISTRY]
    for registry in REGISTRIES.values():
        dataclass.append(registry["dataclass_registry"])
        classes.append(registry["registry"])
    for cls in (cls for registry in dataclass for cls in registry.values()):
        yield from (field.default for field in dataclasses.fields(cls))
    for cls in (cls for registry in classes for cls in registry.values()):
        if hasattr(cls, "add_args"):
            parser = argparse.ArgumentParser(allow_abbrev=False, conflict_handler="resolve")
            cls.add_args(parser)
            yield from (action.default for action in parser._actions)


def test_the_values_of_fairseqs_own_options_stay() -> None:
    """Of all strings among the defaults, those that Python can evaluate, and to the same."""
    expected = {}
    for text in {value for value in _defaults() if isinstance(value, str)}:
        try:
            expected[text] = eval(text, {"__builtins__": {}})
        except (SyntaxError, NameError, AttributeError):
            continue
    assert len(expected) >= 30
    assert "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]" in expected
    assert {text: literal(text) for text in expected} == expected
