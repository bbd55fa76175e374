"""Until ready: asks about accepted snapshots until each is NORMAL and 100 %, or gone."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import NamedTuple

import anyio

from batchsnap.cloud.actions import SnapshotFact
from batchsnap.engine import ask
from batchsnap.engine.access import Access
from batchsnap.engine.attempt import Desk
from batchsnap.engine.row import Row, request_of
from batchsnap.ledger.record import Record, row_record, stamp
from batchsnap.lifecycle import State
from batchsnap.model import PlannedRequest

IDS_A_QUESTION = 100
EVERY_S = 5.0
EVERY_MOST_S = 30.0
_MISSES = 4
"""A fresh snapshot may not be visible yet: it is called vanished after so many answers in a row
without it, over --settle-for or longer."""
_READY = "NORMAL"


class Watched(NamedTuple):
    """A snapshot whose end is awaited."""

    row: PlannedRequest
    attempt: int
    snapshot_id: str
    misses: int = 0
    missed_since: float = 0.0  # monotonic


class Watcher:
    """Awaits the snapshots of one access."""

    def __init__(self, access: Access, desk: Desk, changed: Callable[[Row | None], None]) -> None:
        """`changed` is told a row whose wait is over: a brake that it pulls is recorded with it."""
        self._access = access
        self._desk = desk
        self._changed = changed
        self._waiting: dict[str, Watched] = {}
        self._added = anyio.Event()
        self._empty = anyio.Event()
        self._ended: Row | None = None  # the latest
        self._told_unseen = False

    def add(self, watched: Watched) -> None:
        """Await one more."""
        self._waiting[watched.snapshot_id] = watched
        self._added.set()

    @property
    def waits(self) -> bool:
        """Whether a snapshot is awaited."""
        return bool(self._waiting)

    async def drained(self) -> None:
        """Wait until nothing is awaited any more, or no answer is to be had."""
        if self._waiting:
            self._empty = anyio.Event()
            await self._empty.wait()

    async def run(self) -> None:
        """Ask every few seconds, more seldom while nothing changes."""
        pause = EVERY_S
        while True:
            if not self._waiting:
                self._empty.set()
                self._added = anyio.Event()
                await self._added.wait()
            await self._desk.clock.sleep(pause * min(1.0, self._desk.settings.settle_scale))
            before = len(self._waiting)
            for region in sorted({w.row.region for w in self._waiting.values()}):
                if not await self._ask(region):
                    for watched in [w for w in self._waiting.values() if w.row.region == region]:
                        del self._waiting[watched.snapshot_id]
            changed = len(self._waiting) < before
            pause = EVERY_S if changed else min(EVERY_MOST_S, pause * 1.5)
            if changed:
                self._changed(self._ended)

    async def _ask(self, region: str) -> bool:
        """One round over a region; False where asking is forbidden."""
        ids = [i for i, watched in self._waiting.items() if watched.row.region == region]
        for first in range(0, len(ids), IDS_A_QUESTION):
            some = ids[first : first + IDS_A_QUESTION]
            answer = await ask.snapshots_by_id(self._access, region, some)
            if isinstance(answer, ask.Part) and answer.why.denied:
                self._desk.say(f"{region}: can't ask about snapshots: {answer.why.code}")
                return False
            await self._take(region, some, answer)
        return True

    async def _take(
        self, region: str, asked: Iterable[str], answer: ask.Answer[SnapshotFact]
    ) -> None:
        facts = {fact.snapshot_id: fact for fact in answer.facts}
        missed = []
        for snapshot_id in asked:
            watched = self._waiting[snapshot_id]
            fact = facts.get(snapshot_id)
            if fact is None:
                if isinstance(answer, ask.Whole) and self._missed(watched):
                    missed.append(self._waiting[snapshot_id])
            elif fact.state == _READY and fact.percent >= 100:
                self._end("ready", watched)
            else:
                self._waiting[snapshot_id] = watched._replace(misses=0)
        await self._gone(region, missed, answer)

    def _missed(self, watched: Watched) -> bool:
        """Count one more answer without it; whether they are enough to call it vanished."""
        now = self._desk.clock.monotonic()
        since = watched.missed_since if watched.misses else now
        misses = watched.misses + 1
        self._waiting[watched.snapshot_id] = watched._replace(misses=misses, missed_since=since)
        return misses >= _MISSES and now - since >= self._desk.settings.settle_for_s

    async def _gone(
        self, region: str, missed: Iterable[Watched], answer: ask.Answer[SnapshotFact]
    ) -> None:
        """Call them vanished, but for those whose disk this credential can't see either: a wrong
        account sees nothing too. Those are awaited for --retry-for, if their rows aren't gone."""
        silent = {watched.row.disk_id: answer for watched in missed}
        silence = await ask.silence(self._access, region, silent, self._desk.say)
        patience = self._desk.settings.settle_for_s + self._desk.settings.retry_for_s
        for watched in missed:
            gone = watched.row.key in self._desk.sink.fold.gone
            if gone or silence.proves(watched.row.disk_id):
                self._end("vanished", watched)
            elif self._desk.clock.monotonic() - watched.missed_since > patience:
                del self._waiting[watched.snapshot_id]
                self._desk.say(
                    f"{watched.snapshot_id} is not awaited any more. If {watched.row.disk_id} is "
                    "gone, take its row out of the manifest and run again"
                )
            elif not self._told_unseen:
                self._told_unseen = True
                self._desk.say(
                    f"this credential sees neither {watched.snapshot_id} nor its disk "
                    f"{watched.row.disk_id} in {region}, so nothing is known of it: still waiting. "
                    "Check the account and the region, or whether the disk is gone"
                )

    def _end(self, event: str, watched: Watched) -> None:
        del self._waiting[watched.snapshot_id]
        at = stamp(self._desk.clock.wall())
        self._desk.sink.append(
            row_record(event, watched.row, watched.attempt, at, snapshot_id=watched.snapshot_id)
        )
        self._ended = Row(watched.row)
        self._ended.attempt = watched.attempt


def watched_of(accepted: Record) -> Watched:
    """The snapshot that a record accepted."""
    return Watched(request_of(accepted), accepted["attempt"], accepted["snapshot_id"])


def accepted_in(
    records: Iterable[Record], standing: Callable[[str], State], states: Container[State]
) -> list[Watched]:
    """The snapshots that records accepted, of rows that are now in one of `states`."""
    found: dict[str, Watched] = {}
    for record in records:
        if record["event"] == "accepted" and standing(record["key"]) in states:
            found[record["key"]] = watched_of(record)
    return list(found.values())
