"""Virtual time: a loop that jumps to its next timer, for tests where waiting is the point."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Coroutine
from typing import Any, TypeVar

import anyio

_Result = TypeVar("_Result")
_TURN_S = 1e-6  # a turn that costs nothing would let a library that polls spin for ever


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` moves a tick a turn, and to the next timer when nothing else is ready.

    With `late_s` each wait ends late by up to that, as a host's does (epoll: a millisecond).
    """

    def __init__(self, late_s: float = 0.0) -> None:
        self._now = 1000.0
        self._late_s = late_s
        self._rng = random.Random(0)
        super().__init__()

    def time(self) -> float:
        return self._now

    def stall(self, seconds: float) -> None:
        """As if the process had been stopped for so long."""
        self._now += seconds

    def _run_once(self) -> None:
        self._now += _TURN_S
        while self._scheduled and self._scheduled[0].cancelled():
            heapq.heappop(self._scheduled)._scheduled = False
        if not self._ready and self._scheduled:
            late = self._late_s * self._rng.random()
            self._now = max(self._now, self._scheduled[0].when() + late)
        super()._run_once()


class VirtualClock:
    """The loop's time as a Clock; the wall clock is a Unix time that goes with it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop

    def monotonic(self) -> float:
        return self.loop.time()

    def wall(self) -> float:
        return 1_800_000_000.0 + self.loop.time()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


def run_virtual(main: Coroutine[Any, Any, _Result], loop: VirtualLoop) -> _Result:
    """Run a coroutine to its end on virtual time."""
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
