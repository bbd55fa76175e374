"""The ledger tells when the bytes left, however late their reply is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchsnap.client.ports import Departure
from batchsnap.ledger.record import encode, unstamp
from batchsnap.model import Fault, Reply
from tests.twin import MemoryCloud
from tests.virtual import VirtualLoop, run_virtual
from tests.world import World, header


class Noted:
    """A start that notes when its bytes left."""

    def __init__(self, start: Departure, loop: VirtualLoop, left: list[float]) -> None:
        self._start = start
        self._loop = loop
        self._left = left

    async def leave(self) -> None:
        await self._start.leave()

    def left(self) -> None:
        self._left.append(self._loop.time())
        self._start.left()


class Halting(MemoryCloud):
    """The host stands still after each reply, a little longer each time."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.left: list[float] = []

    async def send(
        self, request: Any, timeout_s: float, start: Departure | None = None
    ) -> Reply | Fault:
        noted = None if start is None else Noted(start, self.loop, self.left)
        outcome = await super().send(request, timeout_s, noted)
        self.loop.stall(0.1 * (self.creates % 9))
        return outcome


def test_a_host_that_stands_still_after_a_reply_moves_no_start(tmp_path: Path) -> None:
    world, rows = World(tmp_path, ["ok"], 0.0), 30
    world.cloud = cloud = Halting(world.loop, ["ok"], 0.0)
    world.disk.append(encode(header))

    run_virtual(world.life(list(range(rows)), False, None), world.loop)

    sent = sorted(unstamp(r["sent_at"]) - 1_800_000_000 for r in world.records() if "sent_at" in r)
    assert len(sent) == rows
    assert sent == pytest.approx(sorted(cloud.left), abs=0.002)
