"""When each doubt is asked about next: the schedule, in one place, and the doubts in its order."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

from batchsnap.client.account import Account
from batchsnap.engine.attempt import RunContext
from batchsnap.engine.row import Row
from batchsnap.settings import Patience, patience

_PAUSE_FIRST_S = 5.0  # after a question that was not answered
_PAUSE_MOST_S = 60.0


class Settled(StrEnum):
    """What became of a doubt."""

    FOUND = "found"
    ABSENT = "absent"
    ASKED = "asked"  # the last question of a row that was sent again
    OPEN = "open"  # no answer is to be had; the doubt stays


@dataclass(slots=True)
class Doubt:
    """A question to be asked until it is answered."""

    row: Row
    report: Callable[[Row, Settled, str], None]  # the id with FOUND
    final: bool = False  # the last question of a row that was sent again
    stage: int = 0
    failures: int = 0
    missed_at: float | None = None  # monotonic; its row's own snapshot was first not found


class Looks:
    """The doubts of one access, by when they are to be asked about."""

    def __init__(self, account: Account, context: RunContext) -> None:
        self._account = account
        self._context = context
        self._heap: list[tuple[float, int, Doubt]] = []
        self._order = count()
        self._ordered_by = self.patience

    @property
    def patience(self) -> Patience:
        """How long this cloud's silence is listened to, by what is known of it."""
        return patience(self._context.settings, self._context.waits, self._account.declared_s)

    def add(self, doubt: Doubt) -> None:
        """Ask about it when its next look is due, not at once after one that failed."""
        due = self.due(doubt)
        if doubt.failures:
            pause = min(_PAUSE_MOST_S, _PAUSE_FIRST_S * 2 ** min(doubt.failures - 1, 4))
            due = max(due, self._context.clock.monotonic() + pause * self.patience.scale)
        heapq.heappush(self._heap, (due, next(self._order), doubt))

    def due(self, doubt: Doubt) -> float:
        """When its next look comes (monotonic), as far as is known now."""
        taken = self.patience
        if doubt.missed_at is not None:
            return doubt.missed_at + taken.looks_s[doubt.stage]
        if not doubt.final:
            return doubt.row.doubt_since + taken.looks_s[doubt.stage]
        # A request may arrive in the last moment of its signature, and be visible later still.
        dead_s = taken.signature_dead_s + self._account.ahead_s
        return doubt.row.doubt_since + dead_s + taken.looks_s[-1]

    def last(self, doubt: Doubt) -> bool:
        """Whether its next look is the last of the schedule."""
        return doubt.stage >= len(self._context.waits.settle_s) - 1

    def first(self) -> Doubt | None:
        """The one that is to be asked about first."""
        return self._heap[0][2] if self._heap else None

    def next_due(self) -> float:
        """When the first of all is due (monotonic)."""
        if self._ordered_by != self.patience:  # it was learned since how patient to be
            self._ordered_by = self.patience
            doubts = [doubt for _, _, doubt in self._heap]
            self._heap.clear()
            for doubt in doubts:
                self.add(doubt)
        return self._heap[0][0] if self._heap else float("inf")

    def take(self, now: float) -> list[Doubt]:
        """Those that are due."""
        taken = []
        while self._heap and self._heap[0][0] <= now:
            taken.append(heapq.heappop(self._heap)[2])
        return taken
