"""Documents and their summaries from parquet files or from texts, one after the other.

Nothing is held but a row group, or a line: CNN/DailyMail has 1.3 GB of text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.corpora.prepare_text import TextError, find_text, normalize_space, read_pairs

# The columns of the public parquet files; a third one, id, is not needed.
COLUMNS = ("article", "highlights")


@dataclass(frozen=True)
class Document:
    """A text and its summary, sentence by sentence if the file says where sentences end.

    White space is single spaces, none at the ends, so that either fits on a line.
    """

    source: str
    sentences: tuple[str, ...]

    @property
    def summary(self) -> str:
        return " ".join(self.sentences)

    @classmethod
    def make(cls, source: str, summary: str, separator: str) -> Document:
        sentences = map(normalize_space, summary.split(separator))
        return cls(normalize_space(source), tuple(filter(None, sentences)))


def find(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """The files of one split in ``folder``, under the first of its ``names`` that is there.

    Either the parquet files NAME*.parquet in the order of their names, which may be in folders
    within it, or the two texts NAME.source and NAME.target, each plain or ending in .gz. Raises
    TextError when there are none.
    """
    for name in names:
        if parquet := sorted(folder.rglob(f"{name}*.parquet"), key=lambda path: path.name):
            return parquet
        if any(folder.glob(f"{name}.source*")):
            return [find_text(str(folder / name), side) for side in ("source", "target")]
    known = " or ".join(f"{name}*.parquet, or {name}.source and {name}.target" for name in names)
    raise TextError(f"{folder} has no {known}")


def read(paths: list[Path]) -> Iterator[Document]:
    """The documents of the files that ``find`` found; TextError where they are damaged.

    In parquet files a line end in the highlights ends a sentence, in texts a tab in the summary.
    """
    if paths[0].suffix == ".parquet":
        for path in paths:
            for article, highlights in _read_parquet(path):
                yield Document.make(article, highlights, "\n")
    else:
        for source, target in read_pairs(*paths):
            yield Document.make(source, target, "\t")


def _read_parquet(path: Path) -> Iterator[tuple[str, str]]:
    import pyarrow
    from pyarrow import parquet

    row = 0
    try:
        with parquet.ParquetFile(path) as stored:
            if missing := set(COLUMNS) - set(stored.schema_arrow.names):
                raise TextError(
                    f"{path} has no column {', '.join(sorted(missing))}: it has "
                    f"{', '.join(stored.schema_arrow.names)}"
                )
            for group in range(stored.num_row_groups):
                table = stored.read_row_group(group, columns=list(COLUMNS))
                for pair in zip(*(table[name].to_pylist() for name in COLUMNS), strict=True):
                    row += 1
                    if not all(isinstance(value, str) for value in pair):
                        raise TextError(f"{path}, row {row}: article or highlights is no text")
                    yield pair
    except (pyarrow.ArrowException, OSError) as error:
        raise TextError(
            f"{path}, after row {row}: damaged or no parquet file ({error}); fetch it again"
        ) from error
