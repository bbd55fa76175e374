"""Fixtures for tests with real processes, and hypothesis told that the machine may be busy."""

from __future__ import annotations

import os
import signal
import sys
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

# Every worker imports every test: all of them read what one has compiled.
sys.dont_write_bytecode = False

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Most tests wait for processes, so eight workers share a processor, up to sixteen in all. The
    long ones keep it busy."""
    share = 2 if "not long" not in config.option.markexpr else 8
    return min(16, share * (os.cpu_count() or 1))


_COMPUTE = {"conformance", "pure", "scenarios", "vectors"}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is slow begins first, so that nobody waits for it at the end. What only computes is
    spread among what waits for processes, so that the processors are never idle."""
    slow = [item for item in items if item.get_closest_marker("slow")]
    rest = [item for item in items if item not in set(slow)]
    compute = [item for item in rest if item.path.parent.name in _COMPUTE]
    wait = [item for item in rest if item.path.parent.name not in _COMPUTE]
    placed = [
        (place / len(group), item) for group in (compute, wait) for place, item in enumerate(group)
    ]
    items[:] = [*slow, *(item for _, item in sorted(placed, key=lambda pair: pair[0]))]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """batchsnap in an empty folder, with the simulator's keys and no other environment."""
    return Cli(tmp_path)


@pytest.fixture
def anyio_backend() -> str:
    """What async tests run on."""
    return "asyncio"
