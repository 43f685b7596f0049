"""What prepare_text.sh says of the data that it has made."""

from __future__ import annotations

from typing import Any

# From here on numbers are so far from those that a new head predicts that it learns them slowly.
LARGE = 10


def report(described: dict[str, Any]) -> list[str]:
    """What the user should know, a line each."""
    positions = described["encoder"]["max_positions"]
    said = []
    for subset, facts in described["subsets"].items():
        empty = f", {facts['empty_lines']:,} empty lines" if facts["empty_lines"] else ""
        said.append(f"{subset}: {facts['examples']:,} examples ({facts['file']}{empty})")
        if facts["cut"]:
            said.append(f"warning: {facts['cut']:,} of them are cut to {positions} pieces")
        if facts["unknown_symbols"]:
            said.append(
                f"warning: {facts['unknown_symbols']:,} of its symbols are unknown to the model"
            )
        if facts["also_in_train"]:
            said.append(
                f"warning: {facts['also_in_train']:,} of them have a text that train has too, so "
                "that their score is too good"
            )
    if described["labels"]:
        said.append(f"{described['classes']} labels: {' '.join(described['labels'])}")
    else:
        said.append(_range(described["subsets"]["train"]["numbers"]))
    return said


def _range(numbers: dict[str, float]) -> str:
    said = "numbers from {min:g} to {max:g}, {mean:g} on average".format_map(numbers)
    if max(abs(numbers["min"]), abs(numbers["max"])) > LARGE:
        said = f"warning: {said}: they are not scaled, and train better if they are near 0 to 1"
    return said
