"""The rows of one profile and region: what is ready, what waits, and whether its region rests."""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count

import anyio

from batchsnap.engine.row import Row
from batchsnap.engine.worklist import Worklist
from batchsnap.model import PlannedRequest
from batchsnap.retry import region_breaker
from batchsnap.settings import Waits


class Strand:
    """One region of one profile within a lane. Rows come from its worklist in order."""

    def __init__(self, profile: str, region: str, waits: Waits) -> None:
        self.profile = profile
        self.region = region
        self.worklist = Worklist()
        self.doubts: list[PlannedRequest] = []  # rows to be settled before anything else
        self.owed: list[PlannedRequest] = []  # rows that only wait for their last question
        self.breaker = region_breaker(waits)
        self.exhausted = False  # the feeder has nothing more
        self.in_flight = 0
        self.unsettled = 0  # rows that a settler has
        self._ready: deque[Row] = deque()
        self._later: list[tuple[float, int, Row]] = []
        self._order = count()
        self._room = anyio.Event()

    def idle(self) -> bool:
        """Whether nothing is left that could still be sent or come back."""
        return self.exhausted and not (
            self._ready or self._later or self.in_flight or self.unsettled
        )

    def put(self, rows: list[Row]) -> None:
        """Rows that may be sent now."""
        self._ready.extend(rows)

    def put_first(self, row: Row) -> None:
        """A row that may be sent now and has waited long enough."""
        self._ready.appendleft(row)

    def put_later(self, row: Row, due: float) -> None:
        """A row that may be sent from `due` (monotonic) on."""
        heapq.heappush(self._later, (due, next(self._order), row))

    async def room(self, ahead: int) -> None:
        """Wait until fewer than `ahead` rows are ready."""
        while len(self._ready) >= ahead:
            self._room = anyio.Event()
            await self._room.wait()

    def rests(self, now: float) -> bool:
        """Whether the region gets no call now: it rests, or its probe is out."""
        return self.breaker.tripped and (self.in_flight > 0 or now < self.breaker.rest_until)

    def next_due(self) -> float:
        """When the next row may be sent; +inf where that needs something else first."""
        if self.breaker.tripped and self.in_flight:
            return float("inf")
        due = float("-inf") if self._ready else float("inf")
        if self._later:
            due = min(due, self._later[0][0])
        return max(due, self.breaker.rest_until)

    def pick(self, now: float) -> Row | None:
        """The next row that may be sent, deferred ones first."""
        if self._later and self._later[0][0] <= now:
            return heapq.heappop(self._later)[2]
        if self._ready:
            row = self._ready.popleft()
            self._room.set()
            return row
        return None

    def first(self) -> Row | None:
        """Some row that waits to be sent."""
        if self._ready:
            return self._ready[0]
        return self._later[0][2] if self._later else None

    def drop(self) -> list[Row]:
        """Give back all that waits: the scope is halted, its rows stay as the ledger has them."""
        rows = [*self._ready, *(row for _, _, row in self._later)]
        self._ready.clear()
        self._later.clear()
        self._room.set()
        return rows
