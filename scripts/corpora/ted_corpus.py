"""The talks of WIT3's archives (IWSLT14, IWSLT17) as parallel text, and its published splits.

    ted_corpus.py train  --campaign IWSLT14 FOLDER de-en OUT     training text, without its tags
    ted_corpus.py sets   OUT SOURCE TARGET [SOURCE TARGET ...]   evaluation sets, joined
    ted_corpus.py select --langs de en --lines FILE --every 23 IN OUT REST
    ted_corpus.py count  --archive iwslt14-de-en SUBSET=FILE ... against the published sizes

Texts are files PREFIX.LANG, one segment a line, as they are in the archives but for white space
around a line. An output appears under its name only when it is complete.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from scripts.archives import table as archives
from scripts.archives.check import ArchiveError
from scripts.corpora.moses_corpus import write_lines
from scripts.corpora.prepare_text import TextError, find_text, read_lines, read_pairs
from scripts.runs.complete_files import complete

# Lines about a talk that the published preprocessings drop; it is title and description whose
# text they keep. The second row came with later archives.
TALK = ("<url>", "<talkid>", "<keywords>")
TALK_2017 = (*TALK, "<speaker>", "<reviewer", "<translator", "<doc", "</doc>")
DROPPED = {"IWSLT14": TALK, "IWSLT17": TALK_2017}
KEPT_TAGS = re.compile("</?(?:title|description)>")
SEGMENT = '<seg id="'
SEGMENT_TAGS = re.compile(r'<seg id="[0-9]*">\s*|\s*</seg>\s*')


def training_lines(path: Path, dropped: tuple[str, ...]) -> Iterator[str]:
    """The segments of a file train.tags.PAIR.LANG."""
    for line in read_lines(path):
        if not any(tag in line for tag in dropped):
            yield KEPT_TAGS.sub("", line).strip()


def set_lines(path: Path) -> Iterator[str]:
    """The segments of an evaluation set, CAMPAIGN.TED.NAME.PAIR.LANG.xml.

    It is no XML, "&" stands for itself, so it is read by line, as everyone does. Raises TextError
    when there is no segment, or one that does not end on its line.
    """
    count = 0
    for number, line in enumerate(read_lines(path), start=1):
        if SEGMENT not in line:
            continue
        if "</seg>" not in line:
            raise TextError(f"{path}, line {number}: a segment without its end, </seg>")
        count += 1
        yield SEGMENT_TAGS.sub("", line).strip()
    if not count:
        raise TextError(f"{path}: no segments, lines with '{SEGMENT}'")


def need(path: Path) -> Path:
    """The file, or TextError with what its folder holds instead."""
    if path.is_file():
        return path
    names = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
    found = f"it has {', '.join(names[:20])}" if names else f"there is no {path.parent}"
    raise TextError(f"the archive lacks {path.name}: {found}")


def write_training(folder: Path, pair: str, campaign: str, out: str) -> None:
    """Both sides of an archive's training text; TextError unless they have as many lines."""
    for lang in pair.split("-"):
        path = need(folder / f"train.tags.{pair}.{lang}")
        write_lines(Path(f"{out}.{lang}"), training_lines(path, DROPPED[campaign]))
    check_parallel(out, pair)


def write_sets(out: str, sets: list[tuple[Path, Path]]) -> None:
    """Evaluation sets one after the other; TextError unless the sides of each correspond."""
    langs = [path.name.split(".")[-2] for path in sets[0]]
    for pair in sets:
        sizes = [sum(1 for _ in set_lines(need(path))) for path in pair]
        if sizes[0] != sizes[1]:
            raise TextError(
                f"{pair[0].name} has {sizes[0]} segments but {pair[1].name} has {sizes[1]}"
            )
    for side, lang in enumerate(langs):
        lines = (line for pair in sets for line in set_lines(pair[side]))
        write_lines(Path(f"{out}.{lang}"), lines)


def check_parallel(prefix: str, pair: str) -> None:
    """TextError unless both sides have as many lines."""
    source, target = pair.split("-")
    for _ in read_pairs(find_text(prefix, source), find_text(prefix, target)):
        pass


def select(prefix: str, langs: list[str], lines: Path, every: int, out: str, rest: str) -> None:
    """Of the lines whose numbers the file `lines` has, every `every`-th to `rest`, others to `out`.

    The numbers count from 1 and rise, as ``moses_corpus.py clean --retained`` writes them.
    """
    for lang in langs:
        with ExitStack() as stack:
            outputs = [stack.enter_context(complete(Path(f"{p}.{lang}"))) for p in (out, rest)]
            text = enumerate(read_lines(find_text(prefix, lang)), start=1)
            for index, wanted in enumerate(map(int, read_lines(lines)), start=1):
                line = next(line for number, line in text if number == wanted)
                outputs[index % every == 0].write(f"{line}\n")


def check_sizes(archive: str, subsets: dict[str, Path]) -> None:
    """Says how many pairs each subset has; TextError unless it is what archives.json says.

    Where no size is published, as of most pairs, it only says.
    """
    published = archives.find(archive).pairs or {}
    wrong = []
    for name, path in subsets.items():
        count = sum(1 for _ in read_lines(path))
        expected = published.get(name)
        note = "" if expected is None else f", published: {expected:,}"
        print(f"{name}: {count:,} pairs{note}", file=sys.stderr)
        if expected not in (None, count):
            wrong.append(f"{name} {count:,} instead of {expected:,}")
    if wrong:
        raise TextError(
            f"these are not the pairs that published results are trained and scored on: "
            f"{'; '.join(wrong)}. Either the archive {archive} is another one (--from-dir, "
            f"--cache, $LRDROP_ARCHIVES), or a package behaves differently: see that sacremoses "
            f"and regex have the versions in constraints.txt"
        )


def parse() -> argparse.Namespace:
    """The command line; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train")
    train.add_argument("--campaign", choices=DROPPED, required=True)
    train.add_argument("folder", type=Path)
    train.add_argument("pair")
    train.add_argument("out")
    sets = commands.add_parser("sets")
    sets.add_argument("out")
    sets.add_argument("files", nargs="+", type=Path, help="SOURCE TARGET")
    choose = commands.add_parser("select")
    choose.add_argument("--langs", nargs=2, required=True)
    choose.add_argument("--lines", type=Path, required=True)
    choose.add_argument("--every", type=int, required=True)
    choose.add_argument("input")
    choose.add_argument("out")
    choose.add_argument("rest")
    count = commands.add_parser("count")
    count.add_argument("--archive", required=True)
    count.add_argument("subsets", nargs="+", help="NAME=FILE")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    """Run one command."""
    if args.command == "train":
        write_training(args.folder, args.pair, args.campaign, args.out)
    elif args.command == "sets":
        write_sets(args.out, list(zip(args.files[::2], args.files[1::2], strict=True)))
    elif args.command == "select":
        select(args.input, args.langs, args.lines, args.every, args.out, args.rest)
    else:
        subsets = dict(entry.split("=", 1) for entry in args.subsets)
        check_sizes(args.archive, {name: Path(path) for name, path in subsets.items()})


def main() -> int:
    """The command line; returns the exit status."""
    try:
        run(parse())
    except (TextError, ArchiveError, OSError) as error:
        print(f"ted_corpus.py: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
