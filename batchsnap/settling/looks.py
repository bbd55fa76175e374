"""When each doubt is asked about next, and the asking: ten disks a question.

Whoever lives a row's life awaits `next_look`; this room asks when the look is due, together with
whatever else is due by then in the same region, and hands each what was heard.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from itertools import count

import anyio

from batchsnap.client import questions
from batchsnap.client.account import Account
from batchsnap.cloud.pages import SnapshotFact
from batchsnap.failpoints import failpoint
from batchsnap.lifecycle import THERE
from batchsnap.settings import Patience
from batchsnap.settling import evidence
from batchsnap.settling.row import Row, RunContext
from batchsnap.settling.snapshots import patience_with

_PAUSE_FIRST_S = 5.0  # after a question that was not answered
_PAUSE_MOST_S = 60.0
_HEAR_AGAIN_S = 5.0
_IDLE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What the cloud said to one question."""

    answers: dict[str, questions.Answer[SnapshotFact]]  # by disk
    silence: questions.Silence
    owns: questions.Answer[SnapshotFact]  # of the snapshots that rows have, those not shown so far


@dataclass(slots=True)
class Doubt:
    """How far the asking about one row has come."""

    row: Row
    final: bool = False  # the last question of a row that was sent again
    stage: int = 0  # its place in the schedule
    failures: int = 0  # looks in a row that proved nothing
    missed_at: float | None = None  # monotonic; its row's own snapshot was first not found
    heard: Heard | None = None
    told: anyio.Event = field(default_factory=anyio.Event)


class Looks:
    """The doubts of one account, by when they are to be asked about."""

    def __init__(self, account: Account, context: RunContext, claimed: evidence.GivenOn) -> None:
        self._account = account
        self._context = context
        self._claimed = claimed
        self._heap: list[tuple[float, int, Doubt]] = []
        self._order = count()
        self._ordered_by = self.patience
        self._wake = anyio.Event()

    @property
    def patience(self) -> Patience:
        """How long this cloud's silence is listened to, by what is known of it."""
        return patience_with(self._account, self._context)

    async def next_look(self, doubt: Doubt) -> Heard:
        """What its next look shows, when that is due; not at once after one that proved nothing."""
        doubt.told = anyio.Event()
        self._add(doubt)
        self._wake.set()
        await doubt.told.wait()
        heard, doubt.heard = doubt.heard, None
        assert heard is not None
        return heard

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

    def matches(self, row: Row, answer: questions.Answer[SnapshotFact]) -> list[str]:
        """Ids of the snapshots in the answer that are the row's."""
        return evidence.matches(row, answer.facts, self._context.sink.fold, self._claimed)

    def promised(self, row: Row) -> str:
        """The snapshot that is to be there: the row's own, unless it was deleted or is gone."""
        fold = self._context.sink.fold
        there = fold.standing(row.key).state in THERE
        return evidence.own(row, fold, self._claimed) if there else ""

    async def run(self) -> None:
        """Ask whenever a look is due, without end."""
        while True:
            await self._get_to_know()
            now = self._context.clock.monotonic()
            pause = min(_IDLE_S, self._next_due() - now)
            if pause > 0:
                self._wake = anyio.Event()
                with anyio.move_on_after(
                    min(pause, _HEAR_AGAIN_S) if self._account.unheard else pause
                ):
                    await self._wake.wait()
                continue
            batch = self._take(now)
            for region in sorted({d.row.request.region for d in batch}):
                await self._ask_region(region, [d for d in batch if d.row.request.region == region])

    def _add(self, doubt: Doubt) -> None:
        due = self.due(doubt)
        if doubt.failures:
            pause = min(_PAUSE_MOST_S, _PAUSE_FIRST_S * 2 ** min(doubt.failures - 1, 4))
            due = max(due, self._context.clock.monotonic() + pause * self.patience.scale)
        heapq.heappush(self._heap, (due, next(self._order), doubt))

    def _next_due(self) -> float:
        """When the first of all is due (monotonic)."""
        if self._ordered_by != self.patience:  # it was learned since how patient to be
            self._ordered_by = self.patience
            doubts = [doubt for _, _, doubt in self._heap]
            self._heap.clear()
            for doubt in doubts:
                self._add(doubt)
        return self._heap[0][0] if self._heap else math.inf

    def _take(self, now: float) -> list[Doubt]:
        """Those that are due."""
        taken = []
        while self._heap and self._heap[0][0] <= now:
            taken.append(heapq.heappop(self._heap)[2])
        return taken

    async def _get_to_know(self) -> None:
        """Ask something where it is unknown whether this is a simulator, whose time is shorter."""
        if self._heap and self._account.unheard:
            row = self._heap[0][2].row
            await questions.snapshots_on(self._account, row.request.region, [row.disk_id])

    async def _ask_region(self, region: str, doubts: list[Doubt]) -> None:
        for first in range(0, len(doubts), questions.DISKS_A_QUESTION):
            some = doubts[first : first + questions.DISKS_A_QUESTION]
            rows = [d.row.request for d in some]
            asked_at = self._context.clock.monotonic()
            answers = await self._context.maker.named(self._account, region, rows)
            failpoint("settle_asked")
            silence = await self._silence(region, some, answers)
            heard = Heard(answers, silence, await self._owns(region, some, answers))
            for doubt in some:
                if self.due(doubt) > asked_at:
                    self._add(doubt)  # the reply told that signatures live longer than was known
                else:
                    doubt.heard = heard
                    doubt.told.set()

    async def _silence(
        self, region: str, doubts: list[Doubt], answers: dict[str, questions.Answer[SnapshotFact]]
    ) -> questions.Silence:
        """What silence proves about the doubts that would be declared absent now."""
        silent = {
            d.row.disk_id: answers[d.row.disk_id]
            for d in doubts
            if (d.final or self.last(d)) and not self.matches(d.row, answers[d.row.disk_id])
        }
        subjects = [d.row.request for d in doubts if d.row.disk_id in silent]
        return await self._context.maker.silence(
            self._account, region, silent, subjects, self._context.say
        )

    async def _owns(
        self, region: str, doubts: list[Doubt], answers: dict[str, questions.Answer[SnapshotFact]]
    ) -> questions.Answer[SnapshotFact]:
        """Of the snapshots that rows were given, and that their disks' answers lack, those that
        are found by their ids."""
        disk_of: dict[str, str] = {}
        for doubt in doubts:
            answer = answers[doubt.row.disk_id]
            own = self.promised(doubt.row) if doubt.final else ""
            shown = {fact.snapshot_id for fact in answer.facts}
            if own and own not in shown and not self.matches(doubt.row, answer):
                disk_of[own] = doubt.row.disk_id
        if not disk_of:
            return questions.Whole(())
        return await self._context.maker.by_id(self._account, region, disk_of)
