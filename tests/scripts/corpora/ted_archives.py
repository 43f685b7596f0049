"""Small archives with the layout of WIT3's, for the tests of prepare_iwslt14.sh and -17.sh.

A sentence is the words of a number's digits, the same on both sides, so a test can tell which pair
a line is, and that two lines belong together.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.killed import kill_when

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {"VIRTUAL_ENV": "/", **os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}

DIGITS = {
    "de": "Null eins zwei drei vier fünf sechs sieben acht neun".split(),
    "en": "Nought one two three four five six seven eight nine".split(),
    "es": "Cero uno dos tres cuatro cinco seis siete ocho nueve".split(),
    "fr": "L’zéro un deux trois quatre cinq six sept huit neuf".split(),
    "zh": "零 一 二 三 四 五 六 七 八 九".split(),
}


def sentence(lang: str, number: int) -> str:
    """The digits of a number with a mark of punctuation; Chinese without spaces."""
    words = [DIGITS[lang][int(digit)] for digit in f"{number:04d}"]
    return f"{''.join(words)}。" if lang == "zh" else f'{" ".join(words)} "& so".'


def talk(lang: str, numbers: Sequence[int], tags: str) -> list[str]:
    """One talk of a training text: lines about it, title, description, then its sentences."""
    return [
        "<url>http://www.ted.com/talks/1</url>",
        f"<keywords>talks, {lang}</keywords>",
        *(
            [f"<speaker>Some {lang}</speaker>", "<reviewer></reviewer>"]
            if tags == "IWSLT17"
            else []
        ),
        "<talkid>1</talkid>",
        f"<title>{sentence(lang, numbers[0])}</title>",
        f"<description>{sentence(lang, numbers[1])}</description>",
        *(f" {sentence(lang, number)} " for number in numbers[2:]),
    ]


def train_tags(lang: str, numbers: Sequence[int], campaign: str, extra: Sequence[str] = ()) -> str:
    lines = []
    for start in range(0, len(numbers), 50):
        lines += talk(lang, numbers[start : start + 50], campaign)
    return "".join(f"{line}\n" for line in [*lines, *extra])


def xml(lang: str, numbers: Sequence[int]) -> str:
    """An evaluation set."""
    segments = "".join(
        f'<seg id="{index}"> {sentence(lang, number)}  </seg>\n'
        for index, number in enumerate(numbers, start=1)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<mteval>\n'
        f'<srcset setid="x" srclang="{lang}">\n<doc docid="1" genre="lectures">\n'
        "<url>http://www.ted.com/talks/2</url>\n<description>TED &amp; so</description>\n"
        f"<title>A title</title>\n{segments}</doc>\n</srcset>\n</mteval>\n"
    )


def tgz(members: Mapping[str, str | bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name, content in members.items():
            raw = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    return data.getvalue()


def write_table(folder: Path, entries: dict[str, Any]) -> Path:
    """A table of archives without checksums, for $LRDROP_ARCHIVES."""
    path = folder / "archives.json"
    path.write_text(json.dumps({name: {"urls": [], **entry} for name, entry in entries.items()}))
    return path


# In place of prepare.sh: keeps what it was called with, and copies the texts.
PREPARE = """#!/usr/bin/env bash
set -euo pipefail
arguments=("$@")
while (($# > 0)); do
    case "$1" in
        --output) output="$2" ;;
        --source-lang) source="$2" ;;
        --target-lang) target="$2" ;;
    esac
    shift
done
set -- "${arguments[@]}"
mkdir -p "$output"
printf '%s\\n' "$@" >"$output/arguments"
while (($# > 0)); do
    case "$1" in
        --train | --valid | --test | --original)
            for lang in "$source" "$target"; do cp "$2.$lang" "$output/${1#--}.$lang"; done ;;
        --bpe-codes) cp "$2" "$output/bpecodes" ;;
    esac
    shift
done
touch "$output/prepare.json"
"""


def without_binarization(folder: Path) -> Path:
    """A copy of scripts/ whose prepare.sh does not start fairseq, which takes seconds."""
    scripts = folder / "scripts"
    shutil.copytree(ROOT / "scripts", scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "prepare.sh").write_text(PREPARE)
    return scripts


@dataclass
class Runner:
    """Runs a script of a folder in another one, with a table of archives."""

    scripts: Path
    table: Path
    folder: Path

    def command(self, script: str, *arguments: object) -> dict[str, Any]:
        return {
            "args": [str(self.scripts / script), *map(str, arguments), "--workers", "1"],
            "env": {**ENVIRONMENT, "LRDROP_ARCHIVES": str(self.table)},
            "cwd": self.folder,
            "text": True,
        }

    def run(self, script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(**self.command(script, *arguments), capture_output=True, check=False)

    def checked(self, script: str, *arguments: object) -> str:
        done = self.run(script, *arguments)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stderr

    def refused(self, script: str, *arguments: object, status: int = 1) -> str:
        done = self.run(script, *arguments)
        assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stderr

    def misused(self, script: str, *arguments: object) -> str:
        """Like refused, with status 2 and with these arguments alone."""
        command = self.command(script)
        command["args"] = [command["args"][0], *map(str, arguments)]
        done = subprocess.run(**command, capture_output=True, check=False)
        assert done.returncode == 2, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stderr

    def killed(self, script: str, *arguments: object, when: str) -> None:
        """Kills a run, with all that it started, when a line of its stderr has `when` in it."""
        options = self.command(script, *arguments)
        kill_when(when, options.pop("args"), **options)


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def joined(path: Path) -> list[str]:
    """The lines of a text in BPE as tokens."""
    return [line.replace("@@ ", "") for line in lines(path)]
