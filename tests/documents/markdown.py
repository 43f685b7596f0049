"""The project's documents: their links, headings and blocks of code, as GitHub reads them."""

from __future__ import annotations

import logging
import re
import subprocess
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
logging.getLogger("markdown_it").setLevel(logging.INFO)  # or pytest shows each rule it tries


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    document: Path
    line: int  # of its first fence, from 1
    language: str
    text: str
    comment: str  # the HTML comment right above it; empty if there is none

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


@cache
def files(*patterns: str) -> tuple[Path, ...]:
    """The files of the repository that match, the new ones that git does not ignore among them."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]
    done = subprocess.run([*listing, *patterns], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    paths = (ROOT / name for name in done.stdout.split("\0") if name)
    return tuple(sorted(path for path in paths if path.is_file()))


def documents() -> tuple[Path, ...]:
    return files("*.md")


@cache
def _tokens(document: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(document.read_text())


def _inline(document: Path) -> Iterator[tuple[int, Token]]:
    """The parts of all running text with the line on which its paragraph or row begins."""
    for token in _tokens(document):
        for child in token.children or ():
            yield _line(token), child


def _line(token: Token) -> int:
    """The one on which it begins, from 1."""
    return (token.map or [0])[0] + 1


def links(document: Path) -> Iterator[tuple[int, str]]:
    """Line and target of each link and picture."""
    blocks_of_html = ((_line(token), token) for token in _tokens(document))
    for line, token in (*_inline(document), *blocks_of_html):
        if token.type in ("link_open", "image"):
            yield line, str(token.attrGet("href") or token.attrGet("src"))
        elif token.type in ("html_inline", "html_block"):
            for target in re.findall(r'(?:src|href)="(.*?)"', token.content):
                yield line, target


def code_spans(document: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each `code` within running text."""
    for line, token in _inline(document):
        if token.type == "code_inline":
            yield line, token.content


def anchors(document: Path) -> set[str]:
    """What a link to a heading of the document has behind its #."""
    found: dict[str, int] = {}
    result = set()
    tokens = _tokens(document)
    for token, content in zip(tokens, tokens[1:]):
        if token.type == "heading_open":
            # A link counts as its text, code as what stands in it.
            parts = content.children or []
            text = "".join(part.content for part in parts if part.type in ("text", "code_inline"))
            anchor = slug(text)
            result.add(f"{anchor}-{found[anchor]}" if anchor in found else anchor)
            found[anchor] = found.get(anchor, 0) + 1
    return result


def slug(heading: str) -> str:
    """GitHub's anchor of a heading: its letters, marks, digits, hyphens and underscores in lower
    case, a hyphen for each space (Ruby's ``[^\\p{Word}\\- ]`` is what is left out)."""
    kept = (c for c in heading.lower() if c in "- " or _is_word(unicodedata.category(c)))
    return "".join(kept).replace(" ", "-")


def _is_word(category: str) -> bool:
    return category[0] in "LM" or category in ("Nd", "Pc")


def blocks(document: Path) -> list[Block]:
    result, comment = [], ""
    for token in _tokens(document):
        if token.type == "fence":
            result.append(Block(document, _line(token), token.info, token.content, comment))
        html = token.content.strip() if token.type == "html_block" else ""
        comment = html[4:-3].strip() if html.startswith("<!--") and html.endswith("-->") else ""
    return result
