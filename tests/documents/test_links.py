"""What a document points to is there: files, folders, headings."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.documents import markdown
from tests.documents.markdown import ROOT, anchors, documents, files, links, slug


def broken(document: Path, target: str) -> str:
    """What is wrong with a link; empty if nothing is."""
    path, _, anchor = target.partition("#")
    if re.match(r"[a-z]+:", path):  # an address; a test has no network
        return "" if path.startswith("https:") else "is no https address"
    found = (document.parent / unquote(path)).resolve() if path else document
    if ROOT not in (found, *found.parents):
        return "leaves the repository"
    # Tracked, or the link works on this machine alone; a folder is there if a file of it is.
    if not any(found in (file, *file.parents) for file in files()):
        return "does not exist"
    if not anchor:
        return ""
    if found.suffix != ".md":
        return "has an anchor, and is no document"
    return "" if anchor in anchors(found) else f"has no heading of which #{anchor} is the anchor"


def test_every_link_leads_somewhere() -> None:
    wrong = [
        f"{document.relative_to(ROOT)}:{line}: {target} {problem}"
        for document in documents()
        for line, target in links(document)
        if (problem := broken(document, target))
    ]
    assert not wrong, "\n".join(wrong)
    assert sum(1 for document in documents() for _ in links(document)) > 100  # they are found


def test_documents_that_the_code_names_exist() -> None:
    wrong = []
    for file in files("*.py", "*.sh", "*.toml", "*.yaml", "*.yml", "*.cff", "Makefile", ".ci/run"):
        for name, _, anchor in re.findall(r"\b(docs/[\w/-]+\.md)(#([\w-]+))?", file.read_text()):
            there = (ROOT / name).is_file() and (not anchor or anchor in anchors(ROOT / name))
            if not there and file != Path(__file__):
                wrong.append(f"{file.relative_to(ROOT)}: {name} {anchor}")
    assert not wrong, "\n".join(wrong)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Several GPUs, several machines", "several-gpus-several-machines"),
        ("Multi30k English–German", "multi30k-englishgerman"),
        ("The C library's allocator", "the-c-librarys-allocator"),
        ("What --task_x does: ½ of it", "what---task_x-does--of-it"),
        ("für あ2", "für-あ2"),
    ],
)
def test_anchors_are_githubs(heading: str, anchor: str) -> None:
    assert slug(heading) == anchor


def test_what_is_wrong_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    one, other = tmp_path / "one.md", tmp_path / "other.md"
    one.write_text(
        "# A `b` [c](other.md)\n\n## Twice\n\n## Twice\n\n"
        "[a](other.md) [b](other.md#x) [c](none.md) [d](../up.md) [e](#twice-1) [f](#twice-2)\n"
        "`[no link](none)` ![g](none.png) <http://plain.example>\n\n"
        '<img src="none.svg">\n'
    )
    other.write_text("X\n=\n")
    monkeypatch.setattr(f"{__name__}.files", lambda: (one, other))
    assert anchors(one) == {"a-b-c", "twice", "twice-1"}
    problems = [(target, broken(one, target)) for _, target in links(one)]
    assert [target for target, problem in problems if problem] == [
        *("none.md", "../up.md", "#twice-2", "none.png", "http://plain.example", "none.svg")
    ]
    assert [line for line, _ in links(one)] == [1, *6 * [7], 7, 7, 10]


def test_blocks_come_with_the_comment_above_them(tmp_path: Path) -> None:
    document = tmp_path / "one.md"
    document.write_text(
        "a\n<!-- not above it -->\n\nb\n\n```bash\none\n```\n\n"
        "<!-- above it -->\n\n```bash\ntwo\n```\n"
    )
    found = [(block.line, block.text, block.comment) for block in markdown.blocks(document)]
    assert found == [(6, "one\n", ""), (12, "two\n", "above it")]
