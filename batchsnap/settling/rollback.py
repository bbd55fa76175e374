"""Deletes exactly the snapshots that a ledger's rows were given: intent durable, then the call.

Only a snapshot that the cloud shows under the recorded id, on the recorded disk and NORMAL, is
deleted. A deletion that may have happened is a doubt like any other: what is shown after it is
deleted again, and what is not shown counts as deleted only once no answer of the whole settle
schedule showed it (`snapshots.look`). It goes on while something moves, and for --retry-for after.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence

from batchsnap.client.account import Account
from batchsnap.cloud import actions
from batchsnap.cloud.faults import ReadRuling
from batchsnap.errors import CredentialsError
from batchsnap.failpoints import failpoint
from batchsnap.ledger.record import Record, row_record, stamp
from batchsnap.lifecycle import Event, State
from batchsnap.settling.row import RunContext
from batchsnap.settling.snapshots import (
    NORMAL,
    Look,
    Pauses,
    Pile,
    Snapshot,
    look,
    patience_with,
    snapshot_of,
)

_NOT_THERE = "NotFound"
_INVISIBLE = (
    "this credential sees neither the snapshot nor its disk: check the account and the region, or "
    "whether the disk is gone"
)
_Judge = Callable[[Look], Awaitable[list[Snapshot]]]
"""Acts on what a look told; returns what must be asked about again."""


class Rollback:
    """Deletes the snapshots of one account. `left` counts by reason what it did not delete."""

    def __init__(self, account: Account, context: RunContext) -> None:
        self.left: Counter[str] = Counter()
        self._account = account
        self._context = context
        self._denied = ""  # why asking or deleting is forbidden
        self._why = "stopped"  # the latest reason for which nothing is known

    async def run(self, pile: Pile) -> None:
        """Delete the snapshots of a region."""
        await self._rounds(pile, self._delete_shown)

    async def tell_seconds(self, pile: Pile) -> None:
        """Count as left what is still there of the second snapshots of rows: the life of a row
        has room for one, so a person deletes them."""
        await self._rounds(pile, self._tell_shown)

    async def _rounds(self, pile: Pile, judge: _Judge) -> None:
        """Ask about all; what is open after a round is asked about in the next."""
        context, self._denied = self._context, ""
        pauses, moved_at = Pauses(self._account, context), context.clock.monotonic()
        while True:
            before = len(pile)
            for some in pile.round():
                for snapshot in await self._batch(pile.region, some, judge):
                    pile.add(snapshot)
            now, moved = context.clock.monotonic(), len(pile) < before
            moved_at = now if moved else moved_at
            settling_s = patience_with(self._account, context).looks_s[-1]
            spent = now - moved_at > settling_s + context.settings.retry_for_s
            if not pile or context.stop.stopping or spent:
                break
            with context.stop.ends():
                await pauses.pause(moved=moved)
        if pile:
            self.left[f"not known yet ({self._why}): run rollback again"] += len(pile)

    async def _batch(
        self, region: str, some: Sequence[Snapshot], judge: _Judge
    ) -> Iterable[Snapshot]:
        """One question and what follows from it; what must be asked about again."""
        if self._context.stop.stopping:
            return some
        if self._denied:
            self.left[self._denied] += len(some)
            return ()
        found = await look(self._account, self._context, region, some)
        again = await judge(found)
        if found.unseen:
            self.left[f"in {region} {_INVISIBLE}"] += len(found.unseen)
        if found.why is not None:
            self._why = found.why.code
        if found.why is None or not found.why.denied:
            return found.open + again
        self._denied = f"denied: {found.why.code}"
        self.left[self._denied] += len(found.open)
        return again

    async def _tell_shown(self, found: Look) -> list[Snapshot]:
        for snapshot, fact in found.shown + found.elsewhere:
            what = f"{snapshot.snapshot_id}, a second snapshot of {fact.disk_id}"
            self.left[f"{what}: delete it by hand"] += 1
        return []

    async def _delete_shown(self, found: Look) -> list[Snapshot]:
        """Delete what may be deleted, and note what is gone."""
        for snapshot in found.gone:
            state = self._context.sink.fold.standing(snapshot.key).state
            if state is not State.VANISHED:  # which the ledger says already
                self._note(Event.DELETED if state is State.DELETING else Event.VANISHED, snapshot)
        for snapshot, fact in found.elsewhere:
            self._leave(
                "on another disk than the ledger says",
                f"it is on {fact.disk_id or 'no disk'}, the ledger says {snapshot.disk_id}",
                snapshot,
            )
        normal = []
        for snapshot, fact in found.shown:
            if fact.state == NORMAL:
                normal.append(snapshot)
            else:
                self.left[f"{fact.state}, only NORMAL ones can be deleted"] += 1
        return await self._delete(normal) if normal else []

    async def _delete(self, some: Sequence[Snapshot]) -> list[Snapshot]:
        """Delete all of them, or by halves where the cloud refuses the batch for one of them."""
        ruling = await self._ask_to_delete(some)
        if ruling.kind == "ok":
            for snapshot in some:
                self._note(Event.DELETED, snapshot)
            return []
        if ruling.kind == "invalid" and len(some) > 1:
            half = len(some) // 2
            return [*await self._delete(some[:half]), *await self._delete(some[half:])]
        self._why = ruling.code
        if ruling.kind in {"temporary", "throttled"} or _NOT_THERE in ruling.code:
            return list(some)  # the next looks tell
        if ruling.kind == "denied":
            self._denied = f"denied: {ruling.code}"
        for snapshot in some:
            self._note(Event.DEFERRED, snapshot, code=ruling.code, message=ruling.message)
            self._leave(ruling.code, ruling.message, snapshot)
        return []

    async def _ask_to_delete(self, some: Sequence[Snapshot]) -> ReadRuling:
        sink = self._context.sink
        group = None
        for snapshot in some:
            group = self._note(Event.DELETING, snapshot)
        await sink.durable(group)
        failpoint("deleting_synced")
        body = actions.delete_snapshots([snapshot.snapshot_id for snapshot in some])
        try:
            account, region = self._context.maker.place(self._account, some[0].region)
            ruling = await account.read("DeleteSnapshots", region, body)
        except CredentialsError as error:
            return ReadRuling("denied", "credentials", str(error), {})
        failpoint("deletion_sent")
        return ruling

    def _leave(self, reason: str, why: str, snapshot: Snapshot) -> None:
        """Tell of one that stays, and count it."""
        self.left[reason] += 1
        self._context.say(f"{snapshot.snapshot_id} of {snapshot.disk_id} stays: {reason}: {why}")

    def _note(self, event: Event, snapshot: Snapshot, **details: object) -> object:
        at = stamp(self._context.clock.wall())
        record = row_record(
            event, snapshot, snapshot.attempt, at, snapshot_id=snapshot.snapshot_id, **details
        )
        return self._context.sink.append(record)


def seconds_in(records: Callable[[], Iterable[Record]]) -> list[Snapshot]:
    """The snapshots that rows have beside the one they were given. They are few, and so is what
    is kept of what the rows were given."""
    found = {
        snapshot_id: snapshot_of(record, snapshot_id)
        for record in records()
        if record["event"] == Event.DOUBLED
        for snapshot_id in record["snapshot_ids"]
    }
    if found:
        for record in records():
            if record["event"] == Event.ACCEPTED:
                found.pop(record["snapshot_id"], None)
    return list(found.values())
