"""Puts the summaries of fairseq-generate in input order and scores them. Used by evaluate.sh."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from examples.summarization import rouge
from scripts.corpora.prepare_text import TextError, normalize_space
from scripts.runs.complete_files import say, write_together
from scripts.runs.json_objects import DamagedError, read_object
from scripts.scores.evaluate_text import EvaluationError, hypotheses, need_files


def describe(data: Path, subset: str) -> dict[str, Any]:
    """prepare.json of a data directory that has the subset; EvaluationError otherwise."""
    path = data / "prepare.json"
    if not path.is_file():
        raise EvaluationError(f"{path} does not exist: make the data with prepare_cnn_dm.sh")
    try:
        prepared = read_object(path)
    except DamagedError as error:
        raise EvaluationError(f"{error}; prepare the data again") from error
    if prepared.get("bpe") != "gpt2":
        raise EvaluationError(f"{data} was not made by prepare_cnn_dm.sh")
    if subset not in prepared["subsets"]:
        known = ", ".join(prepared["subsets"])
        raise EvaluationError(f"{data} has no subset '{subset}': it has {known}")
    need_files(data / "raw" / f"{subset}.{prepared['target_lang']}", *_gpt2(data))
    return prepared


def _gpt2(data: Path) -> list[Path]:
    """The files of GPT-2's BPE: its tokens, and its merges."""
    return [data / "gpt2" / name for name in ("encoder.json", "vocab.bpe")]


def decode(data: Path, lines: list[str]) -> list[str]:
    """Text, on one line, from the numbers of GPT-2's tokens.

    Of the dictionary's symbols, <unk> and the filling at its end stand for no text.
    """
    from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

    encoder = get_encoder(*map(str, _gpt2(data)))
    numbers = ([int(token) for token in line.split() if token.isdigit()] for line in lines)
    return [normalize_space(encoder.decode(tokens)) for tokens in numbers]


def flags(words: list[str]) -> dict[str, str]:
    """Command-line flags and their values; of a flag that is there twice, the last one."""
    found: dict[str, str] = {}
    for word in words:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            found[name] = value
        else:
            found[name] = f"{found[name]} {word}".strip()
    return found


def table(result: dict[str, Any]) -> str:
    """The scores as text."""
    lines = [
        f"test set    {result['subset']} ({result['prefix']}), {result['documents']} documents",
        f"checkpoint  {result['checkpoint']}",
        *(f"  made of   {p['path']} ({p['num_updates']} updates)" for p in result["parts"]),
        *(
            f"{title:12}{', '.join(f'{key} {value}'.strip() for key, value in settings.items())}"
            for title, settings in (
                ("generation", result["generation"]),
                ("ROUGE", result["settings"]),
            )
        ),
        "",
        f"{'':12}{'F1':>8}{'precision':>12}{'recall':>9}",
    ]
    for title, scores in result["scores"].items():
        f1, precision, recall = (scores[key] for key in ("f1", "precision", "recall"))
        lines.append(f"{title:12}{f1:8.2f}{precision:12.2f}{recall:9.2f}")
    lines.append(f"{'words':12}{result['words']['hypothesis']:.1f} a summary, ")
    lines[-1] += f"{result['words']['reference']:.1f} a reference"
    return "\n".join(lines)


def words(texts: list[list[str]]) -> float:
    """Mean number of words of a summary."""
    return sum(len(sentence.split()) for text in texts for sentence in text) / len(texts)


def evaluate(options: argparse.Namespace) -> None:
    """Score, write the three files and print the table."""
    data, subset = options.data, options.subset
    prepared = describe(data, subset)
    reference_file = data / "raw" / f"{subset}.{prepared['target_lang']}"
    references = rouge.read_references(reference_file)
    summaries = decode(data, hypotheses(options.generated, len(references)))
    sentences = list(map(rouge.Sentences(), summaries))
    means = 100 * rouge.score(sentences, references).mean(axis=0)
    # Here, because an incomplete generation ends above without waiting for all of fairseq.
    from lrdrop_fairseq.checkpoints.average import parts

    result = {
        "subset": subset,
        "prefix": prepared["subsets"][subset]["prefix"],
        "documents": len(summaries),
        "checkpoint": str(options.checkpoint),
        "parts": parts(options.checkpoint),
        "generation": flags(options.generation.split()),
        "settings": rouge.settings(references),
        "scores": {
            title: dict(zip(("precision", "recall", "f1"), map(float, values)))
            for title, values in zip(rouge.METRICS.values(), means)
        },
        "words": {"hypothesis": words(sentences), "reference": words(references)},
    }
    texts = {
        f"hyp.{subset}.target": "".join(f"{line}\n" for line in summaries),
        f"ref.{subset}.target": reference_file.read_text(encoding="utf-8"),
    }
    text = json.dumps(result, indent=2, ensure_ascii=False)
    # Last: it says that all is complete.
    write_together(options.output, {**texts, f"scores.{subset}.json": f"{text}\n"})
    say(table(result))


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("check", "score"):
        command = commands.add_parser(name)
        command.add_argument("data", type=Path)
        command.add_argument("subset")
        if name == "score":
            command.add_argument("--generated", type=Path, required=True)
            command.add_argument("--checkpoint", type=Path, required=True)
            command.add_argument("--generation", required=True)
            command.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    try:
        if options.command == "score":
            evaluate(options)
        else:
            describe(options.data, options.subset)
    except (EvaluationError, TextError, OSError) as error:
        print(f"evaluate.sh: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
