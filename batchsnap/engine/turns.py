"""Whose turn it is, of the rows of one quota. It decides, and waits for nothing.

Its queues are served one after the other, so a manifest sorted by region feeds all regions, and one
that rests or is halted holds up nobody.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from batchsnap.client.account import Account
from batchsnap.engine.attempt import details_of
from batchsnap.engine.halts import Halts
from batchsnap.engine.limits import Limits, Slots
from batchsnap.engine.queue import Disks, Queue
from batchsnap.lifecycle import TABLE, Event
from batchsnap.model import Ruling, Scope, Verdict
from batchsnap.retry import quota_breaker
from batchsnap.settling.row import Row, RunContext, Stage
from batchsnap.settling.snapshots import patience_with

_LATER_S = 0.001  # a moment is over when the clock is past it


class Turns:
    """The queues, the slots and the breaker of one quota."""

    def __init__(
        self,
        account: Account,
        queues: Sequence[Queue],
        context: RunContext,
        halts: Halts,
        limits: Limits,
    ) -> None:
        self.queues = deque(queues)
        self.at = [0] * len(Stage)  # rows by stage
        for queue in queues:
            queue.at_quota = self.at
        self.slots = Slots(context.settings)
        self.disks = Disks()
        self.expired = False  # nothing was accepted for --retry-for
        self._account = account
        self._context = context
        self._halts = halts
        self._limits = limits
        self._breaker = quota_breaker(context.waits)
        self._progress_at = context.clock.monotonic()

    @property
    def out(self) -> int:
        """Rows that hold a slot."""
        return self.at[Stage.STAGED] + self.at[Stage.OUT]

    def next(self) -> tuple[Queue, Row] | None:
        """Start what may be started, up to the first fresh row, which the caller brings to rest;
        rows that come back are told that it is their turn."""
        while (picked := self._pick()) is not None:
            queue, row = picked
            queue.move(row, Stage.STAGED)
            self.slots.take(self.at[Stage.STAGED])
            self._halts.started(queue, row)
            if row.turn is None:
                return picked
            row.turn.set()
        return None

    def came_back(self, ruling: Ruling) -> None:
        """Learn from an outcome how the quota is."""
        now = self._context.clock.monotonic()
        self._breaker.note(ruling.verdict, now)
        if ruling.verdict is Verdict.ACCEPTED:
            self._progress_at = now

    def found(self) -> None:
        """A doubt was settled as found: as good a sign of life as an acceptance."""
        now = self._progress_at = self._context.clock.monotonic()
        self._breaker.note(Verdict.ACCEPTED, now)

    def over(self) -> bool:
        """Whether nothing is out, and nothing more will be started."""
        if self.out:
            return False
        if self._context.stop.stopping or self.expired:
            return True
        return all(q.idle() or (self._halted(q) and not q.unsettled) for q in self.queues)

    def blocked(self) -> bool:
        """Whether no row at all may be started until something else has ended."""
        out = self.out
        return (
            self.slots.full(out)
            or (self._breaker.tripped and out > 0)
            or not self._limits.may_start()
        )

    def due(self) -> float:
        """When (monotonic) the next row may be sent, or patience ends; +inf where only what is out
        can change anything. Sets `expired` where nothing can."""
        now = self._context.clock.monotonic()
        spent_at = self._spent_at()
        if now <= spent_at:
            due = min((self._next_due(queue) for queue in self.queues), default=math.inf)
            return min(max(due, self._breaker.rest_until), spent_at + _LATER_S)
        # A reply, or a doubt with a patience of its own, may be good news.
        self.expired = not self.out and not self.at[Stage.ASKED]
        return math.inf

    def review(self, row: Row | None) -> None:
        """Record what suspects, or a brake, have stopped."""
        self.heed()
        self._braked(self._limits.review(), row)

    def _braked(self, why: str, row: Row | None) -> None:
        """Record a brake's halt, if there is one, with a row whose life allows it."""
        if not why:
            return
        standing = self._context.sink.fold.standing
        for told in (row, *(queue.first() for queue in self.queues)):
            if told is not None and Event.HALTED in TABLE[standing(told.key).state]:
                self._context.note(Event.HALTED, told, scope="run", code="brake", message=why)
                return

    def despair(self) -> None:
        """Stop the run where a brake holds and nothing is left that could let it go."""
        self._braked(self._limits.despair(), None)

    def heed(self) -> None:
        """Record what suspects have stopped."""
        for row, ruling in self._halts.news():
            scope = Scope.REGION if ruling.scope is None else ruling.scope
            self._context.note(Event.HALTED, row, **details_of(ruling), scope=scope.value)

    def _halted(self, queue: Queue) -> bool:
        return self._halts.of(queue.profile, queue.region) is not None

    def _pick(self) -> tuple[Queue, Row] | None:
        """The next row and its queue, or None where nothing may be sent now."""
        now = self._context.clock.monotonic()
        if self._context.stop.stopping or self.expired or self.blocked():
            return None
        if now < self._breaker.rest_until or now > self._spent_at():
            return None
        for _ in range(len(self.queues)):
            queue = self.queues[0]
            self.queues.rotate(-1)
            if self._halted(queue):
                self._drop(queue)
                continue
            if queue.rests(now):
                continue
            probing = self._halts.rests(queue)
            if probing and not self._halts.wants_probe(queue):
                continue
            while (row := queue.probe(now) if probing else queue.pick(now)) is not None:
                if self.disks.take(row):
                    return queue, row
                self.disks.wait(queue, row)
        return None

    def _drop(self, queue: Queue) -> None:
        """The scope is halted: what waits there is left as the ledger has it."""
        for row in queue.drop():
            self.disks.leave(row)
            if row.turn is not None:
                row.turn.set()

    def _next_due(self, queue: Queue) -> float:
        """When the queue's next row may be sent; +inf where that needs something else first."""
        probing = self._halts.rests(queue)
        if self._halted(queue) or (probing and not self._halts.wants_probe(queue)):
            return math.inf
        return queue.next_due(probing=probing)

    def _spent_at(self) -> float:
        """When patience ends, with a series of faults or with a region that takes nothing."""
        retry_for_s, spent_at = self._context.settings.retry_for_s, math.inf
        if self._breaker.count:
            settling_s = patience_with(self._account, self._context).looks_s[-1]
            spent_at = self._breaker.spent_at(retry_for_s, settling_s)
        for queue in self.queues:
            if queue.breaker.tripped:
                spent_at = min(spent_at, self._progress_at + retry_for_s)
        return spent_at
