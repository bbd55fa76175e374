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
        self.suspects: list[PlannedRequest] = []  # suspects of earlier lives, which go last
        self.owed: list[PlannedRequest] = []  # rows that only wait for their last question
        self.breaker = region_breaker(waits)
        self.exhausted = False  # the feeder has nothing more
        self.in_flight = 0
        self.unsettled = 0  # rows that a settler has
        self.held = 0  # suspects that wait for what other rows meet
        self.closed = False  # its lane is at its end: nothing more comes of it
        self.scouts: deque[Row] = deque()  # rows from elsewhere in the worklist, for probes
        self._ready: deque[Row] = deque()
        self._later: list[tuple[float, int, Row]] = []
        self._order = count()
        self._room = anyio.Event()

    def idle(self) -> bool:
        """Whether nothing is left that could still be sent or come back."""
        return self.quiet() and not self.held

    def quiet(self) -> bool:
        """Whether nothing is left that could still tell what becomes of its suspects."""
        left = self._ready or self._later or self.scouts or self.in_flight or self.unsettled
        return self.closed or (self.exhausted and not left)

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

    def next_due(self, *, probing: bool) -> float:
        """When the next row, or `probing` the next probe, may be sent; +inf where that needs
        something else first."""
        if self.breaker.tripped and self.in_flight:
            return float("inf")
        ready = self._ready or (self.scouts and (probing or self.exhausted))
        due = float("-inf") if ready else float("inf")
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
        return self.scouts.popleft() if self.scouts and self.exhausted else None

    def probe(self, now: float) -> Row | None:
        """A row that may be sent, from as far on as can be had."""
        if self.scouts:
            return self.scouts.popleft()
        if self._ready:
            row = self._ready.pop()
            self._room.set()
            return row
        return self.pick(now)

    def coming(self, most: int) -> list[str]:
        """Disk ids of rows that have not been sent yet, the next and some from further on."""
        rows = [*self.scouts, *self._ready]
        requests = [row.request for row in rows] + self.worklist.coming(max(0, most - len(rows)))
        return [request.disk_id for request in requests if request.disk_id][:most]

    def first(self) -> Row | None:
        """Some row that waits to be sent."""
        if self._ready or self.scouts:
            return (self._ready or self.scouts)[0]
        return self._later[0][2] if self._later else None

    def drop(self) -> list[Row]:
        """Give back all that waits: the scope is halted, its rows stay as the ledger has them."""
        rows = [*self.scouts, *self._ready, *(row for _, _, row in self._later)]
        self.scouts.clear()
        self._ready.clear()
        self._later.clear()
        self._room.set()
        return rows
