"""Small archives with the layout of WIT3's, for the tests of prepare_iwslt14.sh and -17.sh.

A sentence is the words of a number's digits, the same on both sides, so a test can tell which pair
a line is, and that two lines belong together.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
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


def run(script: str, *arguments: object, table: Path | None = None, cwd: Path) -> Any:
    environment = {**ENVIRONMENT, **({"LRDROP_ARCHIVES": str(table)} if table else {})}
    command = [str(ROOT / "scripts" / script), *map(str, arguments)]
    return subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, check=False
    )


def run_killed(script: str, *arguments: object, table: Path, cwd: Path, when: str) -> str:
    """Runs a script and kills it, with all it started, when a line of stderr has `when` in it."""
    process = subprocess.Popen(
        [str(ROOT / "scripts" / script), *map(str, arguments)],
        env={**ENVIRONMENT, "LRDROP_ARCHIVES": str(table)},
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    said = ""
    assert process.stderr is not None
    for line in process.stderr:
        said += line
        if when in line:
            os.killpg(process.pid, signal.SIGKILL)
            break
    else:
        raise AssertionError(f"the run ended before it said '{when}': {said}")
    process.wait()
    process.stderr.close()
    return said


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
