"""What the tests of whole trainings share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.toy import write_data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory of six updates an epoch."""
    lengths = [(1 + i % 7, 1 + i % 5) for i in range(48)]
    folder = tmp_path_factory.mktemp("data")
    return write_data(folder, {"train": lengths, "valid": lengths[5:9]})
