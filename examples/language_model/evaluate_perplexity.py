"""Scores a text by fairseq-eval-lm and shares its probability among pieces and words.

Used by evaluate.sh: ``flags FLAG...`` prints what is wrong with flags for fairseq-eval-lm, ``check
DATA SUBSET`` whether there is such a subset, ``score DATA SUBSET ... -- FLAG...`` does it.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from examples.language_model import data as prepared_data
from examples.language_model.protocol import Protocol, choose, refuse_long_lines
from scripts.corpora.prepare_text import TextError
from scripts.runs.complete_files import say, write_together
from scripts.scores.evaluate_text import EvaluationError
from scripts.scores.generation_flags import PLUGIN, REASONS, FlagError, check

# Samples of a batch: about so many tokens, however many of them count.
BATCH_TOKENS = 4096

_PROTOCOL = "it would be another protocol than that which the scores name"
FLAGS = {
    **REASONS,
    "context_window": "use --context-window",
    "tokens_per_sample": "use --tokens-per-sample",
    **dict.fromkeys(
        ("sample_break_mode", "add_bos_token", "output_dictionary_size", "shorten_method",
         "max_target_positions", "self_target", "past_target", "model_overrides"),
        _PROTOCOL,
    ),
    "output_word_probs": "its output is not kept",
    "output_word_stats": "its output is not kept",
}  # fmt: skip


def describe(data: Path, subset: str) -> dict[str, Any]:
    """prepare.json of a data directory that has the subset; TextError otherwise."""
    prepared = prepared_data.read(data)
    if subset not in prepared["subsets"]:
        known = ", ".join(prepared["subsets"])
        raise TextError(f"{data} has no subset '{subset}': it has {known}")
    return prepared


def perplexity(
    data: Path, subset: str, checkpoint: Path, found: Protocol, flags: Sequence[str]
) -> tuple[float, int]:
    """Run fairseq-eval-lm; returns the loss in bits per token, and how many tokens it is of."""
    warnings.simplefilter("ignore")  # of fairseq and torch, of what the other does
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq_cli import eval_lm

    logging.getLogger().setLevel(logging.WARNING)  # something that fairseq imports asks for DEBUG
    command = [
        str(data), f"--user-dir={PLUGIN}", "--task=language_modeling", f"--path={checkpoint}",
        f"--gen-subset={subset}", "--required-batch-size-multiple=1", "--num-workers=0",
        f"--batch-size={max(1, BATCH_TOKENS // found.tokens)}", *found.flags(),
        f"--log-format={'tqdm' if sys.stderr.isatty() else 'none'}", *flags,
    ]  # fmt: skip
    config = convert_namespace_to_omegaconf(
        options.parse_args_and_arch(options.get_eval_lm_parser(), command)
    )
    scored, count = eval_lm.eval_lm, 0

    def counting(
        models: Any, source_dictionary: Any, batch_iterator: Iterable[Any], **more: Any
    ) -> Any:
        def batches() -> Iterator[Any]:
            nonlocal count
            for sample in batch_iterator:
                if "target" in sample:
                    count += int(sample["target"].ne(source_dictionary.pad()).sum())
                    count -= len(sample["target"]) * bool(more["remove_bos_token"])
                yield sample

        return scored(models, source_dictionary, batches(), **more)

    eval_lm.eval_lm = counting
    try:
        result = eval_lm.main(config)
    finally:
        eval_lm.eval_lm = scored
    return float(result["loss"]), count


def table(result: dict[str, Any]) -> str:
    """The scores as text."""
    protocol, unit = result["protocol"], result["unit"]
    lines = [
        f"text        {result['subset']} ({result['file']}), {result['lines']:,} lines, "
        f"{result['words']:,} words",
        f"checkpoint  {result['checkpoint']}",
        *(f"  made of   {p['path']} ({p['num_updates']} updates)" for p in result["parts"]),
        f"samples     of {protocol['tokens']} {unit}s, {protocol['window']} of them context, "
        f"break mode {protocol['break_mode']}",
        *([f"flags       {result['flags']}"] if result["flags"] else []),
        f"unknown     {result['unknown'] / result['tokens']:.3%} of the {unit}s",
        "",
    ]
    for scores in result["scores"]:
        lines.append(
            f"perplexity per {scores['unit']:6}{scores['perplexity']:10.2f}   "
            f"{scores['bits']:.4f} bits each, {scores['count']:,} with the ends of lines"
        )
    return "\n".join(lines)


def scores(bits: float, tokens: int, unit: str, words: int) -> list[dict[str, Any]]:
    """The probability of the whole text, ``bits``, shared among its tokens and its words."""
    counts = {unit: tokens, "word": words}  # one entry where the tokens are words
    return [
        {"unit": name, "count": count, "bits": bits / count, "perplexity": 2 ** (bits / count)}
        for name, count in counts.items()
    ]


def evaluate(options: argparse.Namespace, flags: Sequence[str]) -> None:
    """Score, write scores.SUBSET.json and print the table."""
    prepared = describe(options.data, options.subset)
    found = choose(options.checkpoint, options.tokens_per_sample, options.context_window)
    refuse_long_lines(options.data, options.subset, found)
    subset = prepared["subsets"][options.subset]
    loss, count = perplexity(options.data, options.subset, options.checkpoint, found, flags)
    if count != subset["tokens"]:
        raise EvaluationError(
            f"{count:,} of the {subset['tokens']:,} tokens of {options.subset} were scored: "
            "fairseq-eval-lm left some out, and said so above"
        )
    from lrdrop_fairseq.checkpoints.average import parts

    result = {
        "subset": options.subset,
        **{key: subset[key] for key in ("file", "lines", "words", "tokens", "unknown")},
        "checkpoint": str(options.checkpoint),
        "parts": parts(options.checkpoint),
        "unit": prepared["unit"],
        "protocol": vars(found),
        "flags": " ".join(flags),
        # The end of a line is one word more, as it is one token more.
        "scores": scores(loss * count, count, prepared["unit"], subset["words"] + subset["lines"]),
    }
    text = json.dumps(result, indent=2, ensure_ascii=False)
    write_together(options.output, {f"scores.{options.subset}.json": f"{text}\n"})
    say(table(result))


def wrong_flags(flags: Sequence[str]) -> str:
    """What is wrong with flags for fairseq-eval-lm; nothing if nothing is."""
    try:
        check(flags, FLAGS, "the perplexity", command="fairseq-eval-lm")
    except FlagError as error:
        return str(error)
    return ""


def main() -> int:
    """The command line; returns the exit status."""
    arguments, flags = sys.argv[1:], []
    if arguments[:1] == ["flags"]:
        print(wrong_flags(arguments[1:]))
        return 0
    if "--" in arguments:
        place = arguments.index("--")
        arguments, flags = arguments[:place], arguments[place + 1 :]
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("check", "score"):
        command = commands.add_parser(name)
        command.add_argument("data", type=Path)
        command.add_argument("subset")
        if name == "score":
            command.add_argument("--checkpoint", type=Path, required=True)
            command.add_argument("--output", type=Path, required=True)
            command.add_argument("--tokens-per-sample", type=int)
            command.add_argument("--context-window", type=int, required=True)
    options = parser.parse_args(arguments)
    from lrdrop_fairseq.compat.refusals import Refused

    try:
        if options.command == "score":
            evaluate(options, flags)
        else:
            describe(options.data, options.subset)
    except (EvaluationError, TextError, Refused, OSError) as error:
        print(f"evaluate.sh: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
