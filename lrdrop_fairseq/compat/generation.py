"""Repairs of options of ``fairseq-generate`` and ``fairseq-interactive``."""

from __future__ import annotations

import functools
from typing import Any

from fairseq import search, utils

from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.compat.replace import REPAIRED, replace

# What fairseq takes for the file's name where --replace-unk is given without one.
NO_FILE = "@@ "


def replace_unk_without_a_file() -> None:
    """Let ``--replace-unk`` without a file copy the source word.

    fairseq looks for a file that is called ``@@ ``, the value of another flag.

    Ends with: a fairseq whose ``--replace-unk`` alone is an empty name (none so far).
    """
    original = utils.load_align_dict
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def load_align_dict(replace_unk: str | None) -> dict[str, str] | None:
        found: dict[str, str] | None = original("" if replace_unk == NO_FILE else replace_unk)
        return found

    replace(utils, load_align_dict)


def find_the_source_of_unk() -> None:
    """Let ``--replace-unk`` put something in the place of an unknown word.

    fairseq takes the alignment for a list of source positions.  It is one of pairs (source,
    target), and empty without ``--print-alignment``: where a translation holds ``<unk>`` the run
    ends in an IndexError or a TypeError.

    Ends with: a fairseq whose ``utils.replace_unk`` reads pairs (none so far).
    """
    original = utils.replace_unk
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def replace_unk(
        hypo_str: str, src_str: str, alignment: Any, align_dict: dict[str, str], unk: str
    ) -> Any:
        words = hypo_str.split()
        if unk in words:
            alignment = _source_of_each_word(alignment, len(words))
        return original(hypo_str, src_str, alignment, align_dict, unk)

    replace(utils, replace_unk)


def _source_of_each_word(alignment: Any, words: int) -> list[int]:
    """The source position of each target position; refused where the alignment has none."""
    if len(alignment) == 0:
        raise Refused(
            "--replace-unk needs to know which source word a translated one comes from: "
            "add --print-alignment"
        )
    if any(len(pair) != 2 or not isinstance(pair[0], int) for pair in alignment):
        raise Refused("--replace-unk needs --print-alignment hard, not soft")
    source = {target: source for source, target in alignment}
    if len(source) != words:
        raise Refused(
            f"--replace-unk: the translation has {words} words, its alignment {len(source)} "
            "tokens: leave out --post-process (--remove-bpe), which joins tokens"
        )
    return [source[position] for position in range(words)]


def keep_overlap_of_diverse_beams() -> None:
    """Let ``--diverse-beam-groups`` translate any data set.

    The search keeps a table of overlaps with one row a sentence of the batch, and looks rows up
    by the sentences' numbers in the data set: an IndexError where those are larger, and the
    overlaps of other sentences where they are not.

    Ends with: a fairseq whose ``DiverseBeamSearch`` looks them up by row (none so far; 0.12.2
    has it).
    """
    original = search.DiverseBeamSearch.step
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def step(
        self: Any,
        step: int,
        lprobs: Any,
        scores: Any,
        prev_output_tokens: Any = None,
        original_batch_idxs: Any = None,
    ) -> Any:
        if original_batch_idxs is not None:
            if step == 0:
                self.numbers = original_batch_idxs
            # Finished sentences leave the batch, so the rows that remain are looked for.
            same = original_batch_idxs.unsqueeze(1).eq(self.numbers)  # now x at the first step
            original_batch_idxs = same.int().argmax(1)
        return original(self, step, lprobs, scores, prev_output_tokens, original_batch_idxs)

    replace(search.DiverseBeamSearch, step)
