"""Repairs of what the command line is taken to mean."""

from __future__ import annotations

import argparse
import functools
from typing import Any

from fairseq import options

from lrdrop_fairseq.compat.replace import REPAIRED, replace


def keep_bf16_off_the_tpu() -> None:
    """Let ``--bf16`` and ``--memory-efficient-bf16`` train on a GPU or a CPU.

    ``fairseq.options.parse_args_and_arch`` switches ``--tpu`` on whenever bfloat16 is asked
    for, and without torch_xla the run crashes.  Here ``--tpu`` is what the command line says,
    so ``--bf16 --tpu`` still trains on a TPU.  (``fairseq-hydra-train common.bf16=true`` never
    had the fault.)

    Ends with: a fairseq in which ``--bf16`` does not imply ``--tpu`` (none so far).
    """
    original = options.parse_args_and_arch
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def parse_args_and_arch(
        parser: argparse.ArgumentParser, input_args: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        result = original(parser, input_args, *args, **kwargs)
        # With parse_known the result is (namespace, unknown arguments).
        namespace = result[0] if isinstance(result, tuple) else result
        if getattr(namespace, "bf16", False) and getattr(namespace, "tpu", False):
            # By now the parser knows every option: ask it again for what was really given.
            namespace.tpu = parser.parse_known_args(input_args)[0].tpu
        return result

    replace(options, parse_args_and_arch)
