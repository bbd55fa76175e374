"""What tests of the simulator's world share: a place, a moment, and how it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from batchsnap.simulator.requests import Refused
from batchsnap.simulator.scenario import Scenario
from batchsnap.simulator.world import World

HERE = "ap-guangzhou"
NOW = 1_767_225_600.0  # 2026-01-01 00:00:00 UTC, 08:00:00 in Shanghai
DISK = "disk-0000000a"


def refusal(question: Callable[[], object]) -> str:
    with pytest.raises(Refused) as caught:
        question()
    return caught.value.code


def world(fleet: list[tuple[str, str]] | None = None, **values: Any) -> World:
    return World(Scenario(**values), fleet)


def listed(w: World, now: float = NOW, region: str = HERE, **body: Any) -> list[str]:
    found = w.describe_snapshots(region, {"Order": "ASC", **body}, now)["SnapshotSet"]
    return [item["SnapshotId"] for item in found]
