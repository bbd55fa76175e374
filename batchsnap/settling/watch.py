"""Until ready: asks about accepted snapshots until each is NORMAL and 100 %, or gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set

import anyio

from batchsnap.client import questions
from batchsnap.client.account import Account
from batchsnap.cloud.pages import SnapshotFact
from batchsnap.ledger.record import Record, row_record, stamp
from batchsnap.lifecycle import Event
from batchsnap.settling.row import Row, RunContext, request_in
from batchsnap.settling.snapshots import NORMAL, Look, Pauses, Pile, Snapshot, look, patience_with

Intents = Callable[[Set[str]], Mapping[str, Record]]
"""The latest intents of rows, by key: what names their snapshots bear."""


class Watcher:
    """Awaits the snapshots of one account."""

    def __init__(
        self,
        account: Account,
        context: RunContext,
        changed: Callable[[Row | None], None],
        *,
        intents: Intents,
    ) -> None:
        """`changed` is told a row whose wait is over: a brake that it pulls is recorded with it."""
        self._account = account
        self._context = context
        self._changed = changed
        self._intents = intents
        self._piles: dict[str, Pile] = {}  # by region
        self._asking = 0  # taken from their pile by the question that is out
        self._over = 0  # not awaited any more, whatever became of them
        self._added = anyio.Event()
        self._empty = anyio.Event()
        self._ended: Row | None = None  # the latest
        self._told_unseen = False

    def add(self, snapshot: Snapshot) -> None:
        """Await one more."""
        pile = self._piles.get(snapshot.region)
        if pile is None:
            pile = self._piles[snapshot.region] = Pile(snapshot.profile, snapshot.region)
        pile.add(snapshot)
        self._added.set()

    def take(self, pile: Pile) -> None:
        """Await all of these, before any other of their region."""
        self._piles[pile.region] = pile
        self._added.set()

    @property
    def waits(self) -> bool:
        """Whether a snapshot is awaited."""
        return self._asking > 0 or any(self._piles.values())

    async def drained(self) -> None:
        """Wait until nothing is awaited any more, or no answer is to be had."""
        if self.waits:
            self._empty = anyio.Event()
            await self._empty.wait()

    async def run(self) -> None:
        """Ask every few seconds, more seldom while nothing changes."""
        pauses, moved = Pauses(self._account, self._context), False
        while True:
            if not self.waits:
                self._empty.set()
                self._added = anyio.Event()
                await self._added.wait()
            await pauses.pause(moved=moved)
            before = self._over
            for region in sorted(self._piles):
                await self._round(self._piles[region])
            moved = self._over > before
            if moved:
                self._changed(self._ended)

    async def _round(self, pile: Pile) -> None:
        """Ask about all of a region; where asking is forbidden none is awaited any more."""
        elsewhere: list[tuple[Snapshot, SnapshotFact]] = []
        denied = False
        for some in pile.round():
            if denied:
                self._over += len(some)
                continue
            self._asking = len(some)
            found = await look(self._account, self._context, pile.region, some)
            elsewhere += found.elsewhere
            if found.why is not None and found.why.denied:
                self._context.say(f"{pile.region}: can't ask about snapshots: {found.why.code}")
                denied = True
                found.open.clear()
            kept = self._judge(found)
            for snapshot in kept:
                pile.add(snapshot)
            self._over += len(some) - len(kept)
            self._asking = 0
        if elsewhere:
            await self._tell_elsewhere(pile.region, elsewhere)

    def _judge(self, found: Look) -> list[Snapshot]:
        """Record what is ready or gone; what is awaited still."""
        kept: list[Snapshot] = []
        for snapshot, fact in found.shown:
            if fact.state == NORMAL and fact.percent >= 100:
                self._end(Event.READY, snapshot)
            else:
                kept.append(snapshot)
        for snapshot in found.gone:
            self._end(Event.VANISHED, snapshot)
        for snapshot in found.unseen:
            if snapshot.key in self._context.sink.fold.gone:  # out of the manifest, as is its disk
                self._end(Event.VANISHED, snapshot)
            elif self._patient(snapshot):
                self._tell_unseen(snapshot)
                kept.append(snapshot)
        if found.why is not None:  # no answer is no reason to despair of one
            return kept + found.open
        return kept + [snapshot for snapshot in found.open if self._patient(snapshot)]

    def _patient(self, snapshot: Snapshot) -> bool:
        """Whether one that is not shown is awaited still. Nothing is, for ever."""
        looks_s = patience_with(self._account, self._context).looks_s
        silent_s = self._context.clock.monotonic() - snapshot.missed_at
        few = snapshot.looks < len(looks_s)
        if few or silent_s <= looks_s[-1] + self._context.settings.retry_for_s:
            return True
        self._context.say(
            f"{snapshot.snapshot_id} is not awaited any more. If {snapshot.disk_id} is gone, take "
            "its row out of the manifest and run again"
        )
        return False

    def _tell_unseen(self, snapshot: Snapshot) -> None:
        if self._told_unseen:
            return
        self._told_unseen = True
        self._context.say(
            f"this credential sees neither {snapshot.snapshot_id} nor its disk {snapshot.disk_id} "
            f"in {snapshot.region}, so nothing is known of it: still waiting. Check the account "
            "and the region, or whether the disk is gone"
        )

    async def _tell_elsewhere(
        self, region: str, elsewhere: Sequence[tuple[Snapshot, SnapshotFact]]
    ) -> None:
        """An id that is another disk's proves nothing of its row, which stays accepted. What the
        row's disk has under the row's name is told, for a person to judge."""
        intents = self._intents({snapshot.key for snapshot, _ in elsewhere})
        for first in range(0, len(elsewhere), questions.DISKS_A_QUESTION):
            some = elsewhere[first : first + questions.DISKS_A_QUESTION]
            disks = sorted({snapshot.disk_id for snapshot, _ in some})
            answers = await questions.snapshots_on(self._account, region, disks)
            for snapshot, fact in some:
                intent = intents.get(snapshot.key, {})
                named = _named(intent, answers[snapshot.disk_id].facts)
                self._context.say(
                    f"{snapshot.snapshot_id} is on {fact.disk_id or 'no disk'}, not on "
                    f"{snapshot.disk_id} as the ledger says: its row stays accepted and is not "
                    f"awaited any more. On {snapshot.disk_id}, of the name "
                    f"{intent.get('snapshot_name', '')}: {', '.join(named) or 'none is seen'}"
                )

    def _end(self, event: Event, snapshot: Snapshot) -> None:
        at = stamp(self._context.clock.wall())
        record = row_record(event, snapshot, snapshot.attempt, at, snapshot_id=snapshot.snapshot_id)
        self._context.sink.append(record)
        self._ended = Row(request_in(record))
        self._ended.attempt = snapshot.attempt


def _named(intent: Record, on_its_disk: Sequence[SnapshotFact]) -> list[str]:
    """The snapshots that bear a row's name on its disk, but for those from before it."""
    name, before = intent.get("snapshot_name"), intent.get("baseline") or ()
    return [
        fact.snapshot_id
        for fact in on_its_disk
        if fact.name == name and fact.snapshot_id not in before
    ]
