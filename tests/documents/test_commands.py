"""Every block of commands in a document says what runs it, and its programs know its flags.

Right above a block stands one of

    <!-- tested by: tests/scripts/test_train.py -->      every program of the block is started there
    <!-- not tested: needs hours, a data set -->         what a test has not

and for both, as for commands within the text, the programs exist and have the flags.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.documents.commands import DocumentError, check, program, recorded
from tests.documents.markdown import ROOT, Block, blocks, code_spans, documents

NEEDS = {"a GPU", "a data set", "a model", "hours", "network", "several machines", "Slurm"}
# How a test names a program, where not by the file or the module itself.
ALIASES = {
    "fairseq-train": "fairseq_cli.train",
    "fairseq-generate": "fairseq_cli.generate",
    "fairseq-hydra-train": "fairseq_cli.hydra_train",
    "lrdrop_fairseq.export": "lrdrop_fairseq.export import",
}
COMMAND_IN_TEXT = re.compile(
    r"(?:scripts|examples|benchmarks)/\S+\.(?:sh|py)(?:\s|$)"
    r"|python -m (?:lrdrop_fairseq|benchmarks)\b|python (?:scripts|examples)/|make [a-z-]+$"
)


def shell_blocks() -> list[Block]:
    return [block for file in documents() for block in blocks(file) if block.language == "bash"]


def check_commands(text: str, folder: Path) -> list[str]:
    """The programs of some shell code; raises a DocumentError at the first that is wrong."""
    found = [known for command in recorded(text, folder) if (known := program(command))]
    for name, arguments in found:
        check(name, arguments)
    return [name for name, _ in found]


def check_marker(block: Block, names: list[str]) -> None:
    """Raises a DocumentError unless the comment above a block of these programs is a true one."""
    marker = block.comment
    kind, _, rest = marker.partition(": ")
    if kind == "not tested":
        unknown = set(rest.removeprefix("needs ").split(", ")) - NEEDS
        if not rest.startswith("needs ") or unknown:
            raise DocumentError(f"'{marker}': what it needs is one of {', '.join(sorted(NEEDS))}")
    elif kind == "tested by":
        paths = [ROOT / name for name in rest.split(", ")]
        missing = [str(path.relative_to(ROOT)) for path in paths if not path.is_file()]
        if missing:
            raise DocumentError(f"'{marker}': {', '.join(missing)} does not exist")
        text = "".join(path.read_text() for path in paths)
        if f'code("{block.document.relative_to(ROOT)}", ' in text:  # it runs the block itself
            return
        # A target of make installs first; what it starts then is a program like the others.
        for name in (name for name in names if name != "make"):
            module = name.removesuffix(".py").replace("/", ".")
            ways = (Path(name).name, module, ALIASES.get(name, name))
            # Scripts of several folders have the same name.
            its_folder = rf'\b{re.escape(Path(name).parent.name)}["/.]' if "/" in name else ""
            if not (any(way in text for way in ways) and re.search(its_folder, text)):
                raise DocumentError(f"{rest} does not start {name}")
    else:
        raise DocumentError("no comment above it says what tests it, or why nothing does")


def test_blocks_of_commands_are_what_they_say(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # as the documents say
    wrong = []
    for block in shell_blocks():
        try:
            check_marker(block, check_commands(block.text, tmp_path_factory.mktemp("run")))
        except DocumentError as error:
            wrong.append(f"{block}: {error}")
    assert not wrong, "\n".join(wrong)
    assert len(shell_blocks()) > 30


def test_commands_in_the_text_exist(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    spans = [(file, line, text) for file in documents() for line, text in code_spans(file)]
    wrong, right = [], 0
    for document, line, text in spans:
        if not COMMAND_IN_TEXT.match(text) or "*" in text:
            continue
        try:
            if " " not in text:  # a file that is spoken of
                if not (ROOT / text).is_file():
                    raise DocumentError(f"{text} does not exist")
            else:  # brackets say what may be left out
                check_commands(re.sub(r"[][]", "", text), tmp_path_factory.mktemp("run"))
            right += 1
        except DocumentError as error:
            wrong.append(f"{document.relative_to(ROOT)}:{line}: {error}")
    assert not wrong, "\n".join(wrong)
    assert right > 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scripts/none.sh data", "scripts/none.sh does not exist"),
        ("cd data; ../../scripts/train.sh x --methods plain", "train.sh knows no --methods"),
        ("scripts/train.sh x -- --lr 1 --lr-drop-begin 0", "knows no --lr-drop-begin$"),
        ("for x in a; do scripts/train.sh $x --a=1 --b=1; done", "knows no --a, --b"),
        ("examples/translation/slurm.sh x --method plain --no", "slurm.sh knows no --no"),
        ("torchrun --any --no-python scripts/train.sh x --any", "train.sh knows no --any"),
        ("python scripts/download.py --to models", "download.py knows no --to"),
        ("python -m lrdrop_fairseq.export a b --huggingfaces c", "knows no --huggingfaces"),
        ("python -m lrdrop_fairseq.none", "No module named lrdrop_fairseq.none"),
        ("make demo tests", "make knows no tests"),
        ("fairseq-hydra-train --config-dir examples --config-name x", "knows no examples/x.yaml"),
        ("fairseq-train data --arch lr_drop_transformer --dropouts 1", "such arguments: data"),
        ("unheard-of --help", "unheard-of"),
        ("if true; then", "bash does not run it"),
        ("# nothing", "no command in it"),
    ],
)
def test_a_wrong_command_is_found(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(DocumentError, match=message):
        check_commands(text, tmp_path)


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("", "no comment above it"),
        ("not tested", "what it needs is one of Slurm"),
        ("not tested: needs time", "what it needs is one of Slurm"),
        ("tested by: tests/none.py", "tests/none.py does not exist"),
        ("tested by: tests/documents/test_links.py", "does not start scripts/compare.sh"),
    ],
)
def test_a_wrong_comment_is_found(comment: str, message: str) -> None:
    block = Block(ROOT / "README.md", 1, "bash", "", comment)
    with pytest.raises(DocumentError, match=message):
        check_marker(block, ["scripts/compare.sh", "scripts/train.sh"])


def test_a_script_of_the_same_name_is_another() -> None:
    block = Block(
        ROOT / "README.md", 1, "bash", "", "tested by: tests/scripts/scores/test_compare.py"
    )
    check_marker(block, ["scripts/compare.sh"])
    with pytest.raises(DocumentError, match="does not start examples/summarization/compare.sh"):
        check_marker(block, ["examples/summarization/compare.sh"])


def test_blocks_that_look_like_commands_are_said_to_be() -> None:
    """Code without a language is output, or a formula."""
    start = re.compile(r"^(scripts/|examples/|make |python |fairseq-|pip )", re.MULTILINE)
    wrong = [
        str(block)
        for file in documents()
        for block in blocks(file)
        if block.language != "bash" and start.search(block.text)
    ]
    assert not wrong, "\n".join(wrong)
