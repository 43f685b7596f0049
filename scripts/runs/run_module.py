"""Runs one of the project's modules: ``python run_module.py scripts.corpora.moses_corpus clean …``.

The modules import each other by their full names from the root of the repository. Here that comes
before everything else: the folder in which a command is given, and a checkout of fairseq, have
folders called ``scripts`` and ``examples`` too. (``python -m`` would look there first, and
PYTHONPATH would reach the commands of fairseq that a module starts.)
"""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
del sys.argv[0]
if not sys.argv or sys.argv[0].startswith("-"):
    sys.exit("usage: run_module.py MODULE [ARGUMENT ...]")
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
