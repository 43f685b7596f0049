"""Repairs of how fairseq reads options that are Python expressions in a string."""

from __future__ import annotations

import ast
import operator
import sys
from typing import Any

from lrdrop_fairseq.compat.refusals import Refused

# "[(512, 3)] * 20" is fconv's default, "[(512, 10, 5)] + [(512, 3, 2)] * 4" wav2vec's.
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_LONGEST = 10_000  # characters of an option, elements of a list


def evaluate_literals_alone() -> None:
    """Let fairseq read values from strings, and run nothing.

    fairseq passes options to Python's ``eval``: ``--adam-betas``, ``--adaptive-softmax-cutoff``,
    ``--encoder-xformers-att-config``, the layers of its convolutional models and some 30 more.  A
    checkpoint's options are among them, so whoever translates with a checkpoint, or loads it with
    ``from_pretrained``, runs what its author wrote there, though ``torch.load`` lets nothing but
    plain values through.  Here :func:`literal` is what every module of fairseq finds under the
    name ``eval``.

    Ends with: a fairseq that calls ``ast.literal_eval`` everywhere (none so far).
    """
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "fairseq":
            vars(module)["eval"] = literal  # found before Python's own


def literal(text: str) -> Any:
    """The value that ``text`` is in Python, where it consists of literals.

    Those are numbers, strings, ``True``, ``False``, ``None``, and lists, tuples, sets and
    dictionaries of literals; sums, differences, products and quotients of them too.

    Raises:
        TypeError: ``text`` is no string (fairseq's ``eval_bool`` counts on that).
        Refused: it is anything else than a literal.
    """
    if not isinstance(text, str):
        raise TypeError(f"an option in a string was expected, not a {type(text).__name__}")
    try:
        if len(text) > _LONGEST:
            raise ValueError("it is too long")
        return _value(ast.parse(text.lstrip(" \t"), mode="eval").body)
    except (ValueError, TypeError, SyntaxError, ArithmeticError, MemoryError, RecursionError) as e:
        shown = text if len(text) <= 100 else f"{text[:100]}…"
        raise Refused(
            f"an option is {shown!r}, where fairseq expects a number, a string, or a list or "
            "dictionary of them in Python's notation; anything else in its place is not run, as "
            "it could do harm"
        ) from e


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Mult) and _length(left, right) > _LONGEST:
            raise ValueError("it is too long")
        return _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.List):
        return [_value(element) for element in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(element) for element in node.elts)
    return ast.literal_eval(node)


def _length(left: Any, right: Any) -> int:
    """Of the product, if it is a list, tuple or string; 0 if it is a number."""
    sequence, times = (right, left) if isinstance(left, int) else (left, right)
    if isinstance(sequence, (list, tuple, str, bytes)) and isinstance(times, int):
        return len(sequence) * times
    return 0
