"""Where time comes from: the port that tests replace, and the host's own clock."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
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

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)

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


class Timeouts:
    """`asyncio.timeout` for very many waits that may all take as long: one timer stands for all,
    where one for each would cost more than a call's own bookkeeping."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waits: dict[Timeout, None] = {}  # a set in the order in which they are due
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> Timeout:
        """A context manager for this task: after so long it raises TimeoutError."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        wait = Timeout(task, self._loop.time() + self._seconds, self._waits)
        self._waits[wait] = None
        if self._timer is None:
            self._timer = self._loop.call_at(wait.due, self._ring)
        return wait

    def _ring(self) -> None:
        """End what is due, and come again for the next."""
        self._timer, now = None, self._loop.time()
        for wait in list(self._waits):
            if wait.due > now:
                self._timer = self._loop.call_at(wait.due, self._ring)
                return
            del self._waits[wait]
            wait.end()


class Timeout:
    """One of those waits."""

    __slots__ = ("_cancelling", "_late", "_task", "_waits", "due")

    def __init__(self, task: asyncio.Task[object], due: float, waits: dict[Timeout, None]) -> None:
        self.due = due
        self._late = False
        self._task = task
        self._cancelling = task.cancelling()
        self._waits = waits

    def end(self) -> None:
        """It takes too long."""
        self._late = True
        self._task.cancel()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._late:
            del self._waits[self]
            return
        others = self._task.uncancel() > self._cancelling
        if kind is asyncio.CancelledError and not others:
            raise TimeoutError from error
