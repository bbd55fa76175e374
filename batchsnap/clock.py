"""Where time comes from: the port that tests replace, and the host's own clock."""

from __future__ import annotations

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
