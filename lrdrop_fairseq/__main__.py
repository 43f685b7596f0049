"""Prints the plugin's folder: ``fairseq-train data --user-dir "$(python -m lrdrop_fairseq)" ...``.

Python imports the package first, and fairseq with it, so that what does not work beside this
fairseq is said here.
"""

from pathlib import Path

if __name__ == "__main__":
    print(Path(__file__).parent)
