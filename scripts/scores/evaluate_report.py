"""What evaluate.sh prints of its scores."""

from __future__ import annotations

from typing import Any


def report(result: dict[str, Any]) -> str:
    """The scores as text, one metric after the other."""
    lines = [
        f"test set    {result['subset']} ({result['prefix']}), {result['sentences']} sentences",
        f"checkpoint  {result['checkpoint']}",
        *(f"  made of   {p['path']} ({p['num_updates']} updates)" for p in result["parts"]),
        f"beam        {result['beam']}",
        *([f"flags       {result['flags']}"] if result["flags"] else []),
    ]
    for entry in result["scores"]:
        lines += ["", f"{entry['title']}: {entry['value']:.2f}"]
        lines += [f"  {entry['signature']}", f"  {entry['details']}"]
    if result["pretokenized"]:
        lines += [
            "",
            "Tokenized BLEU is what multi-bleu.perl computes, on the data's own tokens: compare it",
            "with papers that use the same tokens, and with nothing else.",
        ]
        if not result["original"]:
            lines += [
                "The reference of the detokenized scores was detokenized too: it is not the text",
                "before it was tokenized.",
            ]
    return "\n".join(lines)
