"""Figures of matplotlib in files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save(figure: Figure, path: Path) -> None:
    """Write a PNG that appears only when it is complete, and close the figure."""
    import matplotlib.pyplot as plt

    aside = path.with_suffix(".part")
    figure.savefig(aside, dpi=150, format="png")
    plt.close(figure)
    os.replace(aside, path)
