"""What fairseq-train must be told of an imported encoder.

    encoder_flags.py FOLDER DATA/TASK

prints the architecture and then its flags, one a line, for finetune.sh; or refuses data that was
prepared with another encoder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from examples.language_understanding.sentence_tasks import TaskError

SEPARATOR = "2"  # </s> in every dictionary of fairseq


def read_json(path: Path) -> dict[str, Any]:
    """import.json, as far as it is needed here."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {key: found[key] for key in ("arch", "flags", "pairs", "symbols")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TaskError(
            f"{path} cannot be read ({error!r}): --encoder is a folder that python -m "
            "lrdrop_fairseq.import_encoder has made"
        ) from error


def check_data(folder: Path, data: Path) -> None:
    """TaskError unless text becomes the same indices by this encoder as in the data."""
    copy = data / "encoder"
    if not (copy / "import.json").is_file():
        raise TaskError(
            f"{data} was not prepared with --encoder, so its text is in another vocabulary: "
            f"prepare it with --encoder {folder}"
        )
    differ = [
        name
        for name in ("dict.txt", "tokenizer.json")
        if (folder / name).read_bytes() != (copy / name).read_bytes()
    ]
    symbols = [read_json(path / "import.json")["symbols"] for path in (folder, copy)]
    if differ or symbols[0] != symbols[1]:
        raise TaskError(
            f"{data} was prepared with another encoder than {folder} "
            f"({', '.join(differ) or 'import.json'} differs): prepare it with --encoder {folder}, "
            "or give the encoder that it was prepared with"
        )


def flags(folder: Path) -> list[str]:
    """The architecture, and the flags."""
    record = read_json(folder / "import.json")
    if not record["arch"].startswith("lr_drop_roberta"):
        raise TaskError(f"{folder} is no encoder: its architecture is {record['arch']}")
    separator = [] if record["pairs"] == "</s>" else ["--separator-token", SEPARATOR]
    return [record["arch"], *record["flags"], *separator]


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder, data = map(Path, arguments)
    try:
        lines = flags(folder)
        check_data(folder, data)
    except (TaskError, OSError) as error:
        print(f"finetune.sh: error: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
