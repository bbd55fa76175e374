"""Deletes exactly the snapshots that a ledger's rows were given: intent durable, then the call.

Only a snapshot that the cloud shows under the recorded id, on the recorded disk and NORMAL, is
deleted. A deletion that may have happened is a doubt like any other: the next question tells. A
snapshot that is not shown may be too fresh to be; it is gone only if it is not shown for so long
as a doubt is settled for, to a credential that sees its disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from batchsnap.cloud import actions
from batchsnap.engine import ask
from batchsnap.engine.access import Access
from batchsnap.engine.attempt import Desk
from batchsnap.engine.row import request_of
from batchsnap.engine.watch import IDS_A_QUESTION, Watched
from batchsnap.failpoints import failpoint
from batchsnap.ledger.record import Record, row_record, stamp
from batchsnap.lifecycle import State

_NORMAL = "NORMAL"
_PATIENCE_S = 15.0
_ROUND_S = 3.0
_INVISIBLE = (
    "this credential sees neither the snapshot nor its disk: check the account and the region, or "
    "whether the disk is gone"
)


class Rollback:
    """Deletes the snapshots of one access. `left` counts by reason what it did not delete."""

    def __init__(self, access: Access, desk: Desk) -> None:
        self.left: Counter[str] = Counter()
        self._access = access
        self._desk = desk
        self._unseen_until = 0.0  # monotonic

    async def run(self, region: str, snapshots: Sequence[Watched]) -> None:
        """Delete the snapshots of a region, in rounds: what is still there is tried again."""
        todo = list(snapshots)
        desk = self._desk
        self._unseen_until = desk.clock.monotonic() + desk.settings.settle_for_s
        patient_until = max(self._unseen_until, desk.clock.monotonic() + _PATIENCE_S)
        while True:
            again: list[Watched] = []
            for first in range(0, len(todo), IDS_A_QUESTION):
                if desk.stop.stopping:
                    again += todo[first:]
                    break
                again += await self._batch(region, todo[first : first + IDS_A_QUESTION])
            todo = again
            if not todo or desk.stop.stopping or desk.clock.monotonic() > patient_until + _ROUND_S:
                break
            with desk.stop.ends():
                await desk.clock.sleep(_ROUND_S)
        if todo:
            self.left["not answered"] += len(todo)

    async def tell_seconds(self, region: str, seconds: Sequence[Watched]) -> None:
        """Count as left what is still there of the second snapshots: the life of a row has room
        for one, so a person deletes them."""
        for first in range(0, len(seconds), IDS_A_QUESTION):
            some = seconds[first : first + IDS_A_QUESTION]
            answer = await ask.snapshots_by_id(self._access, region, [w.snapshot_id for w in some])
            shown = {fact.snapshot_id for fact in answer.facts}
            silent = {w.row.disk_id: answer for w in some if w.snapshot_id not in shown}
            silence = await ask.silence(self._access, region, silent, self._desk.say)
            for watched in some:
                if watched.snapshot_id in shown:
                    what = f"{watched.snapshot_id}, a second snapshot of {watched.row.disk_id}"
                    self.left[f"{what}: delete it by hand"] += 1
                elif not silence.proves(watched.row.disk_id):
                    why = silence.why(watched.row.disk_id)
                    what = f"second snapshots, not answered: {why.code}"
                    self.left[f"in {region} {_INVISIBLE}" if why.code == ask.UNSEEN else what] += 1

    async def _batch(self, region: str, some: Sequence[Watched]) -> list[Watched]:
        """One question and one deletion; what must be asked about again."""
        ids = [watched.snapshot_id for watched in some]
        answer = await ask.snapshots_by_id(self._access, region, ids)
        if isinstance(answer, ask.Part) and answer.why.denied:
            self.left[f"denied: {answer.why.code}"] += len(some)
            return []
        facts = {fact.snapshot_id: fact for fact in answer.facts}
        silent, normal = [], []
        for watched in some:
            fact = facts.get(watched.snapshot_id)
            if fact is None:
                silent.append(watched)
            elif watched.row.disk_id and fact.disk_id != watched.row.disk_id:
                self.left["on another disk than the ledger says"] += 1
            elif fact.state != _NORMAL:
                self.left[f"{fact.state}, only NORMAL ones can be deleted"] += 1
            else:
                normal.append(watched)
        again = await self._silent(region, silent, answer)
        return again + (await self._delete(region, normal) if normal else [])

    async def _silent(
        self, region: str, silent: Sequence[Watched], answer: ask.Answer[actions.SnapshotFact]
    ) -> list[Watched]:
        """Note what the cloud does not show as gone; what must be asked about again.

        What is fresh may be shown yet, and a wrong account is shown nothing at all.
        """
        if isinstance(answer, ask.Part):
            return list(silent)
        fresh = self._desk.clock.monotonic() < self._unseen_until
        again, gone = [], []
        for watched in silent:
            state = self._desk.sink.fold.standing(watched.row.key).state
            if state is State.VANISHED:
                continue  # as the ledger says
            if fresh and state is not State.DELETING:
                again.append(watched)
            else:
                gone.append((watched, "deleted" if state is State.DELETING else "vanished"))
        asked = {watched.row.disk_id: answer for watched, _ in gone}
        silence = await ask.silence(self._access, region, asked, self._desk.say)
        for watched, event in gone:
            if silence.proves(watched.row.disk_id):
                self._note(event, watched)
            elif silence.why(watched.row.disk_id).code == ask.UNSEEN:
                self.left[f"in {region} {_INVISIBLE}"] += 1
            else:
                again.append(watched)
        return again

    async def _delete(self, region: str, some: Sequence[Watched]) -> list[Watched]:
        """Delete all of them, or by halves where the cloud refuses the batch for one of them."""
        sink = self._desk.sink
        group = None
        for watched in some:
            group = self._note("deleting", watched)
        await sink.durable(group)
        failpoint("deleting_synced")
        body = actions.delete_snapshots([watched.snapshot_id for watched in some])
        ruling = await self._access.read("DeleteSnapshots", region, body)
        failpoint("deletion_sent")
        if ruling.kind == "ok":
            for watched in some:
                self._note("deleted", watched)
            return []
        if ruling.kind in {"temporary", "throttled"}:
            return list(some)
        if len(some) > 1 and ruling.kind == "invalid":
            half = len(some) // 2
            return [
                *await self._delete(region, some[:half]),
                *await self._delete(region, some[half:]),
            ]
        for watched in some:
            self._note("deferred", watched, code=ruling.code, message=ruling.message)
        self.left[f"{ruling.code}: {ruling.message}"] += len(some)
        return []

    def _note(self, event: str, watched: Watched, **details: object) -> object:
        at = stamp(self._desk.clock.wall())
        record = row_record(
            event, watched.row, watched.attempt, at, snapshot_id=watched.snapshot_id, **details
        )
        return self._desk.sink.append(record)


def seconds_in(records: Iterable[Record]) -> list[Watched]:
    """The snapshots that rows have beside the one they were given."""
    given: set[str] = set()
    found: dict[str, Watched] = {}
    for record in records:
        if record["event"] == "accepted":
            given.add(record["snapshot_id"])
        elif record["event"] == "doubled":
            row = request_of(record)
            found.update((i, Watched(row, record["attempt"], i)) for i in record["snapshot_ids"])
    return [watched for snapshot_id, watched in found.items() if snapshot_id not in given]
