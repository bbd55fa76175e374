"""The gate of one quota: waits until the law allows a start, then records it at once.

A start is recorded under the quota file's lock in the same breath in which it is allowed, so no
wait lies between a token and its use. Waiters are served in the order they came.
"""

from __future__ import annotations

from collections import deque
from itertools import count as counter

import anyio
from aiolimiter import AsyncLimiter

from batchsnap.clock import Clock
from batchsnap.pacing import law
from batchsnap.pacing.quota_file import QuotaFile

FIRST_START_AFTER_S = 1.0
"""A process starts nothing sooner than this after it opened the quota: what a dead process may
have sent without our knowing lies outside the window then."""
_CONTENDED_S = 0.001
_NEVER = float("-inf")


class LocalGate:
    """Paces one quota. Create inside the event loop that uses it."""

    def __init__(
        self,
        rate_per_s: float,
        *,
        clock: Clock,
        file: QuotaFile | None = None,
        strict: bool = False,
        margin_s: float = law.MARGIN_MIN_S,
    ) -> None:
        self.rate_per_s = rate_per_s
        self.margin_s = margin_s
        self._clock = clock
        self._file = file
        self._strict = strict
        self._window = law.window_size(rate_per_s)
        self._bucket = AsyncLimiter(self._window, max(1.0, self._window / rate_per_s))
        self._turn = anyio.Lock()
        self._not_before = clock.monotonic() + FIRST_START_AFTER_S
        self._starts: deque[float] = deque(maxlen=self._window)
        self._due = _NEVER
        self._token = counter()
        self._open: dict[int, anyio.Event] = {}
        self._strict_queue: deque[int] = deque()
        self._released: dict[int, float] = {}

    async def start(self) -> int:
        """Wait for the next lawful start and take it; the number is for `replied`."""
        async with self._turn:
            await self._bucket.acquire()
            if self._strict:
                await self._strict_slot()
            while (wait := self._take()) > 0:
                await self._clock.sleep(wait)
            token = next(self._token)
            if self._strict:
                self._open[token] = anyio.Event()
                self._strict_queue.append(token)
            return token

    def replied(self, token: int, *, throttled: bool) -> None:
        """The call of this start is over: what it teaches about the margin is learned."""
        now = self._clock.monotonic()
        if throttled:
            self.margin_s = law.widened(self.margin_s)
        else:
            self.margin_s = law.narrowed(self.margin_s)
        if self._strict:
            self._released[token] = now
            self._open.pop(token).set()

    def pause(self, seconds: float) -> None:
        """Start nothing for so long."""
        self._not_before = max(self._not_before, self._clock.monotonic() + seconds)

    def close(self) -> None:
        """Let go of the quota file."""
        if self._file is not None:
            self._file.close()

    async def _strict_slot(self) -> None:
        """Wait until the N-th start before this one was answered a second ago."""
        if len(self._strict_queue) < self._window:
            return
        oldest = self._strict_queue.popleft()
        if oldest in self._open:
            await self._open[oldest].wait()
        free_at = self._released.pop(oldest) + law.WINDOW_S + law.MARGIN_MIN_S
        await self._clock.sleep(max(0.0, free_at - self._clock.monotonic()))

    def _take(self) -> float:
        """Take the start now and return 0, or the seconds to wait before trying again."""
        if self._file is None:
            nth = self._starts[0] if len(self._starts) == self._window else _NEVER
            wait, now, self._due = self._decide(self._due, nth)
            if wait <= 0:
                self._starts.append(now)
            return wait
        with self._file.locked() as held:
            if not held:
                return _CONTENDED_S
            tally = self._file.tally(self._clock.monotonic())
            nth = self._file.nth_last(tally.total, self._window)
            wait, now, due = self._decide(tally.previous_due, nth)
            if wait <= 0:
                self._file.add(tally.total, now, due)
            return wait

    def _decide(self, previous_due: float, nth_last: float) -> tuple[float, float, float]:
        """(seconds to wait, now, grid point of the last start)."""
        now = self._clock.monotonic()
        wait = (
            law.earliest(
                previous_due=previous_due,
                nth_last=nth_last,
                rate_per_s=self.rate_per_s,
                margin_s=self.margin_s,
                not_before=self._not_before,
            )
            - now
        )
        if wait > 0:
            return wait, now, previous_due
        due = law.grid_point(
            previous_due=previous_due,
            now=now,
            rate_per_s=self.rate_per_s,
            margin_s=self.margin_s,
        )
        return 0.0, now, due
