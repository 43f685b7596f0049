"""The dropout gap of checkpoints side by side, as a table and a plot.

    python -m lrdrop_fairseq.dropout_gap DATA CHECKPOINT... [--subset valid] [--plot FILE.png]

Three passes over the data for each checkpoint: one without dropout and two with it. At each layer
and at the output the table has the distance of a pass with dropout to the pass without, and to the
other one. Works for translation, summarization, language and sentence models, trained with LR-Drop
or not.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils, utils
from tabulate import tabulate

from lrdrop_fairseq.checkpoints.model import ModelError, import_user_dir
from lrdrop_fairseq.dropout_gap.measure import Gap, measure, places_of

UNITS = """\
hidden     squared distance of a layer's outputs relative to their mean squared length
attention  squared distance of the attention distributions, mean over heads (0 to 2)
output     mean of both KL divergences in bits; of a regression, the squared difference
none       of a pass with dropout to the pass without; other: of two passes with dropout
Means over all tokens that are no padding (output of sentence models: over sentences)."""


class GapError(ValueError):
    """What cannot be measured; the message says why and what to do."""


def gap_of(checkpoint: Path, data: Path, subset: str, max_tokens: int) -> list[Gap]:
    """The gap of one checkpoint on a subset of a data directory; GapError if it has none."""
    if not checkpoint.is_file():
        raise GapError(f"{checkpoint}: no such checkpoint")
    if not data.is_dir():
        raise GapError(f"{data}: no such data directory")
    try:
        models, _, task = checkpoint_utils.load_model_ensemble_and_task(
            [str(checkpoint)], arg_overrides={"data": str(data)}
        )
        task.load_dataset(subset)
    except Exception as error:  # whatever fairseq and torch make of files that do not fit
        reason = str(error).partition("\n\t")[2] or str(error)
        reason = reason.splitlines()[0] if reason else type(error).__name__
        if isinstance(error, RuntimeError):  # parameters of other sizes
            reason = f"was it trained on data with this dictionary? ({reason})"
        raise GapError(
            f"{checkpoint} cannot be measured on subset {subset} of {data}: {reason}"
        ) from error
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = models[0].to(device).float()
    labels = getattr(task, "label_dictionary", None)
    head = None if labels is None else task.cfg.classification_head_name
    samples = _batches(task, model, subset, max_tokens, device)
    try:
        return measure(model, samples, task.source_dictionary.pad(), head)
    except ValueError as error:
        raise GapError(f"{checkpoint}: {error}") from error


def _batches(
    task: Any, model: Any, subset: str, max_tokens: int, device: torch.device
) -> Iterator[dict[str, Any]]:
    positions = utils.resolve_max_positions(task.max_positions(), model.max_positions())
    batches = task.get_batch_iterator(
        task.dataset(subset), max_tokens=max_tokens, max_positions=positions,
        disable_iterator_cache=True,
    )  # fmt: skip
    for sample in batches.next_epoch_itr(shuffle=False):
        yield utils.move_to_cuda(sample) if device.type == "cuda" else sample


def table(names: Sequence[str], gaps: Sequence[Sequence[Gap]]) -> str:
    """The places one after the other, two columns for each checkpoint."""
    lines = []
    for place in places_of(gaps):
        line = {"": f"{place.kind}: {place.part} {place.layer or ''}".strip()}
        if place.kind == "output":
            line[""] = "output"
        for name, found in zip(names, gaps):
            here = next((gap for gap in found if gap.place == place), None)
            line[f"{name}: none"] = "" if here is None else f"{here.to_none:.4f}"
            line[f"{name}: other"] = "" if here is None else f"{here.to_other:.4f}"
        lines.append(line)
    return str(tabulate(lines, headers="keys", tablefmt="github", disable_numparse=True))


def short_names(paths: Sequence[Path]) -> list[str]:
    """The paths without what they begin and end with alike, and ``.pt``."""
    parts = [path.with_name(path.name.removesuffix(".pt")).parts for path in paths]
    if len(paths) == 1:
        return [parts[0][-1]]
    for end in (0, -1):
        while min(map(len, parts)) > 1 and len({part[end] for part in parts}) == 1:
            parts = [part[1:] if end == 0 else part[:-1] for part in parts]
    names = ["/".join(part) for part in parts]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lrdrop_fairseq.dropout_gap", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("checkpoints", type=Path, metavar="CHECKPOINT", nargs="+")
    parser.add_argument("--subset", default="valid")
    parser.add_argument("--max-tokens", type=int, default=4096, help="of a batch (default 4096)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a PNG beside the table")
    parser.add_argument("--user-dir", metavar="DIR", help="of an architecture of your own")
    options = parser.parse_args(arguments)
    paths = list(dict.fromkeys(path.resolve() for path in options.checkpoints))
    names = short_names(paths)
    logging.getLogger().setLevel(logging.WARNING)  # something that fairseq imports asks for DEBUG
    try:
        if options.user_dir:
            import_user_dir(options.user_dir)
        gaps = []
        for path in paths:
            print(f"dropout_gap: {path}", file=sys.stderr, flush=True)
            gaps.append(gap_of(path, options.data, options.subset, options.max_tokens))
        print(f"{table(names, gaps)}\n\n{UNITS}")
        if options.plot:
            from lrdrop_fairseq.dropout_gap.plot import plot

            plot(names, gaps, options.plot)
            print(f"plot: {options.plot}")
    except ModuleNotFoundError as error:
        print(f"dropout_gap: error: {error}: scripts/install.sh --plots", file=sys.stderr)
        return 1
    except (GapError, ModelError, OSError) as error:
        print(f"dropout_gap: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
