"""How a text is cut into samples to be scored, on which its perplexity depends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scripts.scores.evaluate_text import EvaluationError


@dataclass
class Protocol:
    """How a text is cut into samples; ``window`` of their ``tokens`` are context alone."""

    tokens: int
    window: int
    break_mode: str
    bos: bool
    output_words: int
    positions: int  # as many tokens as the model takes

    def flags(self) -> list[str]:
        """As fairseq-eval-lm takes them."""
        return [
            f"--tokens-per-sample={self.tokens}",
            f"--context-window={self.window}",
            f"--sample-break-mode={self.break_mode}",
            f"--output-dictionary-size={self.output_words}",
            *(["--add-bos-token"] if self.bos else []),
        ]


def choose(checkpoint: Path, tokens: int | None, window: int) -> Protocol:
    """That of the model's training but for what is asked for.

    Raises EvaluationError where the model is no language model, or cannot see so many tokens.
    """
    from fairseq.checkpoint_utils import load_checkpoint_to_cpu

    from lrdrop_fairseq.compat.refusals import Refused

    try:
        config = load_checkpoint_to_cpu(str(checkpoint))["cfg"]
        task, model = config["task"], config["model"]
    except Refused as error:
        raise EvaluationError(str(error)) from error
    except Exception as error:  # of options that no version of fairseq has written
        raise EvaluationError(f"{checkpoint} is no checkpoint of fairseq: {error!r}") from error
    if task["_name"] != "language_modeling":
        raise EvaluationError(
            f"{checkpoint} was trained for {task['_name']}: only language models have a perplexity"
        )
    trained = int(task["tokens_per_sample"])
    of_model = model if isinstance(model, dict) else vars(model)
    longest = int(of_model.get("max_target_positions") or trained)
    found = Protocol(
        tokens or trained,
        window,
        task["sample_break_mode"] or "none",
        bool(task["add_bos_token"]),
        int(task["output_dictionary_size"]),
        longest,
    )
    if found.tokens > longest:
        raise EvaluationError(
            f"--tokens-per-sample {found.tokens} is more than the {longest} that {checkpoint} takes"
        )
    if not window < found.tokens:
        raise EvaluationError(
            f"--context-window {window} leaves none of {found.tokens} tokens to be scored: give a "
            "smaller one, or more --tokens-per-sample"
        )
    if window and found.break_mode != "none":
        raise EvaluationError(
            f"{checkpoint} was trained with --sample-break-mode {found.break_mode}: a "
            "--context-window is of text without breaks"
        )
    return found


def refuse_long_lines(data: Path, subset: str, found: Protocol) -> None:
    """EvaluationError for lines that fairseq-eval-lm would leave out of the perplexity.

    Where lines are not broken, one that has more tokens than the model takes is a sample that it
    skips, and says so in a log that nobody reads.
    """
    if found.break_mode == "none":
        return
    from fairseq.data import Dictionary, data_utils

    dictionary = Dictionary.load(str(data / "dict.txt"))
    lines = data_utils.load_indexed_dataset(str(data / subset), dictionary)
    lengths = {i + 1: int(size) for i, size in enumerate(lines.sizes) if size > found.positions}
    if lengths:
        few = ", ".join(f"{line} ({size} tokens)" for line, size in list(lengths.items())[:3])
        raise EvaluationError(
            f"{len(lengths):,} of the {len(lines):,} lines of {subset} are longer than the "
            f"{found.positions} tokens that the model takes, the first of them {few}: shorten or "
            "split them in the text, and prepare that with --vocabulary-of; or train with "
            "--sample-break-mode none, which cuts the text wherever a sample ends"
        )
