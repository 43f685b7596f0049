"""Checks the flags for fairseq-generate that follow -- of an evaluate.sh. Used by both of them.

    generation_flags.py [--beam] WHAT FLAG...

prints what is wrong with them, if anything is.

fairseq's own parser reads them, so that every spelling that it takes (``-s de``, ``-sde``,
``--path=x``, ``--remove-bpe``) counts as what it does.  Refused is what changes which text is read,
which model is used, or what is printed, as the scores would then be of something else.  ``--beam``:
the script has an option of that name.  WHAT the script reads, for messages.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path

PLUGIN = Path(__file__).resolve().parents[2] / "lrdrop_fairseq"

_OTHER_TEXT = "the text and its languages are those of the data directory"
_OTHER_MODEL = "the model is that of --checkpoint"
_PRINTED = "this script reads {what}"
_REFERENCE = "the reference would be part of the result"
_PARTLY = "every sentence is scored"

# By the name under which fairseq keeps an option: why it is refused.
REASONS = {
    "path": "use --checkpoint",
    "gen_subset": "use --subset",
    "source_lang": _OTHER_TEXT,
    "target_lang": _OTHER_TEXT,
    "checkpoint_suffix": _OTHER_MODEL,
    "checkpoint_shard_count": _OTHER_MODEL,
    "score_reference": _REFERENCE,
    "prefix_size": _REFERENCE,
    "constraints": "the source would hold words of the result",
    "num_shards": _PARTLY,
    "shard_id": _PARTLY,
    **dict.fromkeys(
        ("post_process", "bpe", "tokenizer", "quiet", "nbest", "results_path", "replace_unk"),
        _PRINTED,
    ),
}
BEAM = {"beam": "use --beam"}


class FlagError(Exception):
    """A flag that cannot be given; the message says which and why."""


def check(
    flags: Sequence[str], reasons: dict[str, str], what: str, command: str = "fairseq-generate"
) -> None:
    """FlagError where fairseq does not take the flags, or one of them sets a refused option.

    Flags of a task of one's own are known if its --user-dir is among them.

    Args:
        reasons: why an option is refused, by the name under which fairseq keeps it.
        what: the script reads, for messages.
        command: fairseq-generate, or fairseq-eval-lm for language models.
    """
    from fairseq import options

    scoring = command == "fairseq-eval-lm"
    task = "language_modeling" if scoring else "translation"
    arguments = ["data", "--user-dir", str(PLUGIN), "--task", task, *flags]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            make = options.get_eval_lm_parser if scoring else options.get_generation_parser
            parser = make()
            # Without the defaults, what is left is what was given.
            found = options.parse_args_and_arch(parser, arguments, suppress_defaults=True)
    except SystemExit as error:  # the last line says why, after two pages of usage
        reason = said.getvalue().strip().rpartition(": error: ")[2]
        raise FlagError(f"{command} does not take these flags: {reason}") from error
    except KeyError as error:
        raise FlagError(f"fairseq knows no {error}: add its --user-dir") from error
    except Exception as error:  # whatever the code there raises
        raise FlagError(f"--user-dir cannot be imported: {error!r}") from error
    for action in parser._actions:
        if action.dest in reasons and action.dest in found:
            # fairseq keeps its aliases in a set
            spellings = "/".join(sorted(action.option_strings, key=len))
            reason = reasons[action.dest]
            raise FlagError(f"{spellings} cannot be given after --: {reason.format(what=what)}")


def main() -> int:
    """The command line; returns the exit status."""
    arguments = sys.argv[1:]
    reasons = dict(REASONS)
    if arguments[0] == "--beam":
        arguments, reasons = arguments[1:], {**BEAM, **REASONS}
    what, *flags = arguments
    try:
        check(flags, reasons, what)
    except FlagError as error:
        print(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
