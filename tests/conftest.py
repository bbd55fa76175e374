"""Fixtures for tests with real processes, and hypothesis told that the machine may be busy."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.process import Cli

# What the suite was started to ignore (nohup, a background job) its children would ignore too.
for number, default in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, default)

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """batchsnap in an empty folder, with the simulator's keys and no other environment."""
    return Cli(tmp_path)


@pytest.fixture
def anyio_backend() -> str:
    """What async tests run on."""
    return "asyncio"
