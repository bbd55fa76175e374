"""Where time comes from: the port that tests replace, and the host's own clock."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import anyio


class Clock(Protocol):
    """Time for client and engine."""

    def monotonic(self) -> float:
        """Seconds on a clock that is never set; one for all processes of a boot."""
        ...

    def wall(self) -> float:
        """Unix seconds, as the host believes."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class LoopClock:
    """The host's monotonic clock, which is the event loop's too, and the host's wall clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


_EARLY_S = 0.001  # a loop's timer may be that early


class Alarm:
    """Wakes who waits, by a ring or when the time is up. Its timer outlives a wait that ended
    sooner: a scope and a timer for each would cost more than what is done between two waits."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def ring(self) -> None:
        """End the wait."""
        self._rung.set()

    async def wait(self, seconds: float) -> bool:
        """Return at the next ring, or somewhat early at times; whether all the seconds passed."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        timer = self._timer
        if timer is None or timer.when() > due or timer.when() <= loop.time():
            if timer is not None:
                timer.cancel()
            self._timer = loop.call_at(due, self.ring)
        self._rung.clear()
        await self._rung.wait()
        return loop.time() > due - _EARLY_S
