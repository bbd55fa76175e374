"""Fixtures for tests with real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.process import Cli


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """batchsnap in an empty folder, with the simulator's keys and no other environment."""
    return Cli(tmp_path)
