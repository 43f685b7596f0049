"""Puts the translations of fairseq-generate in input order and scores them. Used by evaluate.sh.

``check`` prints the two languages of a prepared data directory that has the test set; ``score``
reads what fairseq-generate printed, writes hypotheses, reference and scores, and prints the scores.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from scripts.corpora import preparation
from scripts.corpora.prepare_text import TextError, normalize_space, read_lines
from scripts.runs.complete_files import say, write_together
from scripts.scores.evaluate_report import report
from scripts.scores.evaluate_text import (
    EvaluationError,
    base_language,
    detokenize,
    from_sentencepiece,
    hypotheses,
    join_bpe,
    need_files,
    split_compounds,
)

NEEDED = ("subsets", "pretokenized", "source_lang", "target_lang")


@dataclass
class Score:
    """One metric on one test set."""

    title: str
    value: float
    signature: str
    details: str  # the metric's own line, with precisions and lengths


def describe(data: Path, subset: str, compound_split: bool = False) -> dict[str, Any]:
    """prepare.json of a data directory that can be scored so; EvaluationError otherwise."""
    try:
        prepared = preparation.read(data, *NEEDED)
    except TextError as error:
        raise EvaluationError(str(error)) from error
    if subset not in prepared["subsets"]:
        known = ", ".join(prepared["subsets"])
        raise EvaluationError(f"{data} has no subset '{subset}': it has {known}")
    if compound_split and not prepared["pretokenized"]:
        raise EvaluationError(
            f"{data} holds sentencepiece data: --compound-split is for tokens; leave it out"
        )
    sacrebleu(prepared["target_lang"])
    text = f"{subset}.{prepared['target_lang']}"
    need_files(data / "raw" / text)
    if not prepared["pretokenized"]:
        need_files(data / "sentencepiece.model")
    elif "original" in prepared["subsets"][subset]:
        need_files(data / "original" / text)
    return prepared


def score(hyp: list[str], ref: list[str], title: str, metric: Any) -> Score:
    """Corpus score of hypotheses against one reference each; cased."""
    result = metric.corpus_score(hyp, [ref])
    return Score(title, result.score, str(metric.get_signature()), str(result))


def sacrebleu(language: str) -> BLEU:
    """BLEU of plain text in a language: tokenization 13a, or the one that its script needs."""
    try:
        return BLEU(trg_lang=base_language(language))
    except RuntimeError as error:  # the tokenizers of Japanese and Korean are extras of sacreBLEU
        raise EvaluationError(f"target language '{language}': {error}") from error


def plain_scores(hyp: list[str], ref: list[str], language: str, suffix: str = "") -> list[Score]:
    """sacreBLEU and chrF of plain text."""
    return [
        score(hyp, ref, f"sacreBLEU{suffix}", sacrebleu(language)),
        score(hyp, ref, f"chrF{suffix}", CHRF()),
    ]


def tokenized_scores(
    hyp: list[str],
    ref: list[str],
    language: str,
    original: list[str] | None = None,
    compound_split: bool = False,
) -> list[Score]:
    """Tokenized BLEU, perhaps with split compounds too; sacreBLEU and chrF of the detokenized text.

    Those two are against the `original` reference, or else against the detokenized one.
    """
    # force: tokens are what is given here on purpose, so no warning about final " ."
    tokenized = BLEU(tokenize="none", force=True)
    scores = [score(hyp, ref, "tokenized BLEU", tokenized)]
    if compound_split:
        split_hyp, split_ref = ([split_compounds(line) for line in side] for side in (hyp, ref))
        scores.append(score(split_hyp, split_ref, "tokenized BLEU, compounds split", tokenized))
    suffix = " (detokenized by sacremoses)"
    if original is None:
        original = detokenize(ref, language)
    else:
        suffix = " (detokenized by sacremoses, against the original text)"
    return scores + plain_scores(detokenize(hyp, language), original, language, suffix)


def evaluate(
    data: Path, subset: str, generated: Path, compound_split: bool = False
) -> tuple[list[str], list[str], list[Score]]:
    """(hypotheses, reference, scores) of what fairseq-generate printed."""
    prepared = describe(data, subset, compound_split)
    language = prepared["target_lang"]
    ref = list(read_lines(data / "raw" / f"{subset}.{language}"))
    pieces = hypotheses(generated, len(ref))
    if not prepared["pretokenized"]:
        hyp = from_sentencepiece(data, pieces)
        return hyp, ref, plain_scores(hyp, ref, language)
    original = None
    if "original" in prepared["subsets"][subset]:
        original = list(read_lines(data / "original" / f"{subset}.{language}"))
    # As prepare.sh reads tokens: of any white space between two, one space is left.
    hyp, ref = [[join_bpe(normalize_space(line)) for line in lines] for lines in (pieces, ref)]
    return hyp, ref, tokenized_scores(hyp, ref, language, original, compound_split)


def run_score(options: argparse.Namespace) -> None:
    """Score, write the three files and print the report."""
    prepared = describe(options.data, options.subset)
    hyp, ref, scores = evaluate(
        options.data, options.subset, options.generated, options.compound_split
    )
    # Here, because it imports all of fairseq, and an incomplete translation ends in the line above.
    from lrdrop_fairseq.checkpoints.average import parts

    language = prepared["target_lang"]
    result = {
        "subset": options.subset,
        "prefix": prepared["subsets"][options.subset]["prefix"],
        "sentences": len(hyp),
        "pretokenized": prepared["pretokenized"],
        "original": prepared["subsets"][options.subset].get("original"),
        "checkpoint": str(options.checkpoint),
        "parts": parts(options.checkpoint),
        "beam": options.beam,
        "flags": options.flags,
        "scores": [asdict(entry) for entry in scores],
    }
    texts = {
        f"hyp.{options.subset}.{language}": "".join(f"{line}\n" for line in hyp),
        f"ref.{options.subset}.{language}": "".join(f"{line}\n" for line in ref),
    }
    text = json.dumps(result, indent=2, ensure_ascii=False)
    write_together(options.output, {**texts, f"scores.{options.subset}.json": f"{text}\n"})
    say(report(result))


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("check", "score"):
        command = commands.add_parser(name)
        command.add_argument("data", type=Path)
        command.add_argument("subset")
        command.add_argument("--compound-split", action="store_true")
        if name == "score":
            command.add_argument("--generated", type=Path, required=True)
            command.add_argument("--checkpoint", type=Path, required=True)
            command.add_argument("--beam", type=int, required=True)
            command.add_argument("--flags", required=True)
            command.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    try:
        if options.command == "score":
            run_score(options)
        else:
            prepared = describe(options.data, options.subset, options.compound_split)
            print(prepared["source_lang"], prepared["target_lang"])
    except (EvaluationError, TextError, OSError) as error:
        print(f"evaluate.sh: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
