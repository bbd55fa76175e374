"""The rows of one profile and region: what may go now, what later, and how many are where.

A queue holds rows that wait for their turn. Most are fresh: nothing runs for them yet. A row that
comes back (it was busy, or settled absent) is waited for by the coroutine that lives its life, and
is told by its `turn`. Every other live row is counted by its `Stage`, in `Queue.move` alone.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from itertools import count

from batchsnap.engine.worklist import Worklist
from batchsnap.model import PlannedRequest
from batchsnap.retry import region_breaker
from batchsnap.settings import Waits
from batchsnap.settling.row import Row, Stage


class Queue:
    """One region of one profile within a quota. Rows come from its worklist in order."""

    def __init__(self, profile: str, region: str, waits: Waits) -> None:
        self.profile = profile
        self.region = region
        self.worklist = Worklist()
        self.doubts = Worklist()  # rows to be settled before anything else
        self.owed = Worklist()  # rows that only wait for their last question
        self.suspects: list[PlannedRequest] = []  # suspects of earlier lives, which go last
        self.breaker = region_breaker(waits)
        self.exhausted = False  # the feeder has nothing more
        self.closed = False  # its dispatcher is at its end: nothing more comes of it
        self.scouts: deque[Row] = deque()  # rows from elsewhere in the worklist, for probes
        self.at = [0] * len(Stage)  # rows by stage
        self.at_quota = [0] * len(Stage)  # the same of all queues of its quota, which share it
        self._ready: deque[Row] = deque()
        self._later: list[tuple[float, int, Row]] = []
        self._order = count()
        self._room = asyncio.Event()

    def seal(self) -> None:
        """End the writing of what is to do. Raises as `Worklist.seal` does."""
        for request in self.suspects:
            self.worklist.add(request, last=True)
        self.suspects.clear()
        for worklist in (self.worklist, self.doubts, self.owed):
            worklist.seal()

    def close(self) -> None:
        """Let go of what is to do, done or not."""
        for worklist in (self.worklist, self.doubts, self.owed):
            worklist.close()

    def move(self, row: Row, stage: Stage | None) -> None:
        """Count the row where it is now."""
        if row.stage is not None:
            self.at[row.stage] -= 1
            self.at_quota[row.stage] -= 1
        if stage is not None:
            self.at[stage] += 1
            self.at_quota[stage] += 1
        else:
            self._room.set()
        row.stage = stage

    @property
    def out(self) -> int:
        """Rows that hold a slot."""
        return self.at[Stage.STAGED] + self.at[Stage.OUT]

    @property
    def unsettled(self) -> int:
        """Rows that will tell what becomes of them though their scope is halted."""
        return self.at[Stage.BEHIND] + self.at[Stage.ASKED] + self.at[Stage.OWED]

    def idle(self) -> bool:
        """Whether nothing is left that could still be sent or come back."""
        return self.quiet() and not self.at[Stage.HELD]

    def quiet(self) -> bool:
        """Whether nothing is left that could still tell what becomes of its suspects."""
        left = self._ready or self._later or self.scouts or self.out or self.unsettled
        return self.closed or (self.exhausted and not left)

    def put(self, row: Row) -> None:
        """A row that has waited for nothing yet."""
        self._ready.append(row)

    def put_back(self, row: Row, now: float) -> None:
        """A row that has waited: it goes first when it is due."""
        if row.due > now:
            heapq.heappush(self._later, (row.due, next(self._order), row))
        else:
            self._ready.appendleft(row)

    async def room(self, ahead: int, live: int) -> None:
        """Wait until fewer than `ahead` rows are ready, and fewer than `live` are taken up."""
        while len(self._ready) >= ahead or len(self._later) + sum(self.at) >= live:
            self._room.clear()
            await self._room.wait()

    def rests(self, now: float) -> bool:
        """Whether the region gets no call now: it rests, or its probe is out."""
        return self.breaker.tripped and (self.out > 0 or now < self.breaker.rest_until)

    def next_due(self, *, probing: bool) -> float:
        """When the next row, or `probing` the next probe, may be sent; +inf where that needs
        something else first."""
        if self.breaker.tripped and self.out:
            return math.inf
        ready = self._ready or (self.scouts and (probing or self.exhausted))
        due = -math.inf if ready else math.inf
        if self._later:
            due = min(due, self._later[0][0])
        return max(due, self.breaker.rest_until)

    def pick(self, now: float) -> Row | None:
        """The next row that may be sent, those that come back first."""
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

    def coming(self, most: int) -> list[PlannedRequest]:
        """Rows that have not been sent yet, the next and some from further on."""
        rows = [*self.scouts, *self._ready]
        requests = [row.request for row in rows] + self.worklist.coming(max(0, most - len(rows)))
        return [request for request in requests if request.disk_id][:most]

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


class Disks:
    """Rows of one disk go one after the other: a row has its disk from its first attempt until it
    is at rest or left for another run."""

    def __init__(self) -> None:
        self._owner: dict[str, str] = {}  # disk -> key of the row that is at work on it
        self._behind: dict[str, deque[tuple[Queue, Row]]] = {}

    def take(self, row: Row) -> bool:
        """The row has its disk, unless another has it already; whether it has."""
        return self._owner.setdefault(row.disk_id, row.key) == row.key

    def wait(self, queue: Queue, row: Row) -> None:
        """Put the row behind the one that has its disk."""
        self._behind.setdefault(row.disk_id, deque()).append((queue, row))
        queue.move(row, Stage.BEHIND)

    def leave(self, row: Row) -> None:
        """The row is done with its disk: the next one on it may go."""
        if self._owner.get(row.disk_id, row.key) != row.key:
            return
        self._owner.pop(row.disk_id, None)
        behind = self._behind.get(row.disk_id)
        if not behind:
            return
        queue, following = behind.popleft()
        if not behind:
            del self._behind[row.disk_id]
        queue.move(following, None)
        following.due = -math.inf
        queue.put_back(following, -math.inf)
