"""What cannot be imported."""

from __future__ import annotations


class ImportingError(ValueError):
    """The folder cannot become a model of fairseq; the message says why and what to do."""
