"""What stands in several files stands there alike: checks, Pythons, version, the paper."""

from __future__ import annotations

import re
from typing import Any

import yaml
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY
from fairseq.models import ARCH_MODEL_REGISTRY

import lrdrop_fairseq
from tests.documents.markdown import ROOT, files

Yaml = dict[str, Any]


def read_yaml(name: str) -> Yaml:
    content: Yaml = yaml.safe_load((ROOT / name).read_text())
    return content


def test_pre_commit_makes_the_checks_of_make_lint() -> None:
    """Word for word; shellcheck gets the same files from both."""
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe
    checks = re.findall(r"\$\(ENV\) (.+)", recipe[1])
    (repository,) = read_yaml(".pre-commit-config.yaml")["repos"]
    hooks = {hook["entry"]: hook for hook in repository["hooks"]}
    assert list(hooks) == checks and len(checks) == 4
    assert all(hook["language"] == "system" for hook in hooks.values())
    shellcheck = hooks["shellcheck --external-sources"]
    chosen = [
        file for file in files() if re.search(shellcheck["files"], str(file.relative_to(ROOT)))
    ]
    assert set(chosen) == {*files("*.sh"), ROOT / ".ci" / "run"}


def test_public_ci_runs_all_pythons_that_can_be_installed() -> None:
    install = "".join(file.read_text() for file in files("scripts/*.sh"))
    supported = re.search(r"^supported\(\) \{(.+)\}$", install, re.MULTILINE)
    assert supported
    job = read_yaml(".github/workflows/ci.yml")["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == re.findall(r"3\.\d+", supported[1])
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]


def test_one_version() -> None:
    version = read_yaml("CITATION.cff")["version"]
    assert lrdrop_fairseq.__version__ == version
    changes = re.findall(r"^## .*?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert changes[0] == version  # the newest comes first


def test_the_options_of_the_readme_are_those_of_the_code() -> None:
    """All criterions and architectures, and the defaults of what is a number."""
    readme = (ROOT / "README.md").read_text()
    table = readme.partition("\n## Options\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `--([\w-]+)[^|]*\|([^\n]*)", table, re.MULTILINE))
    for flag, registry in (("criterion", CRITERION_REGISTRY), ("arch", ARCH_MODEL_REGISTRY)):
        named = set(re.findall(r"`(lr_drop_\w+)`", rows[flag]))
        assert named == {name for name in registry if name.startswith("lr_drop_")}
    classes = [CRITERION_DATACLASS_REGISTRY[name] for name in sorted(CRITERION_DATACLASS_REGISTRY)
               if name.startswith("lr_drop_")]  # fmt: skip
    sentences = CRITERION_DATACLASS_REGISTRY["lr_drop_sentence_prediction"]
    for flag in ("hidden-weight", "attention-weight", "output-weight", "start", "ramp"):
        default, _, of_sentences = rows[f"lr-drop-{flag}"].split("|")[0].partition("; sentences ")
        for config in classes:
            expected = of_sentences if of_sentences and config is sentences else default
            found = getattr(config(), f"lr_drop_{flag.replace('-', '_')}")
            assert found == float(expected), (config, flag)


def test_one_paper() -> None:
    """README and CITATION.cff cite the same."""
    paper = read_yaml("CITATION.cff")["preferred-citation"]
    readme = (ROOT / "README.md").read_text()
    bibtex = dict(re.findall(r"^  (\w+) += \{((?:.|\n)*?)\},?$", readme, re.MULTILINE))
    authors = (f"{author['family-names']}, {author['given-names']}" for author in paper["authors"])
    assert bibtex == {
        "title": paper["title"],
        "author": " and ".join(authors),
        "booktitle": bibtex["booktitle"],
        "pages": f"{paper['start']}--{paper['end']}",
        "year": str(paper["year"]),
        "url": paper["url"],
    }
    assert re.sub(r"\s+", " ", bibtex["booktitle"]) == paper["collection-title"]
    assert paper["identifiers"][0]["value"].removeprefix("arXiv:") in readme
