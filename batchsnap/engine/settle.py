"""Doubts, until the cloud has answered: the asking schedule, the proof, and the records of both.

A doubt is a row that may have been executed. It is asked about several times after the fault,
since a snapshot may become visible late and a request may arrive late. Found ends it. Absence
counts only at the last question, and only if this credential sees the disk. A row that was
settled absent and sent again is asked about once more when no earlier signature can be alive and
what came with its last breath can be seen.

Evidence is the disk, the name that the intent recorded, and the ids that were there before it;
time is none, for the cloud's CreateTime has no zone. Doubts hold no slot and stop no feed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

import anyio

from batchsnap.cloud.actions import SnapshotFact
from batchsnap.engine import ask
from batchsnap.engine.access import Access
from batchsnap.engine.attempt import Desk
from batchsnap.engine.row import Row
from batchsnap.failpoints import failpoint
from batchsnap.lifecycle import DONE
from batchsnap.settings import Patience, patience

_UNSEEN_ASKS = 3
_HEAR_AGAIN_S = 5.0


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


Claimed = Callable[[str], set[str]]
"""Snapshot ids on a disk that other rows of this ledger were given."""


class Settler:
    """Settles the doubts of one access."""

    def __init__(self, access: Access, desk: Desk, claimed: Claimed) -> None:
        self._access = access
        self._desk = desk
        self._claimed = claimed
        self._heap: list[tuple[float, int, Doubt]] = []
        self._order = count()
        self._wake = anyio.Event()
        self._closed = False
        self._scheduled_by = self._patience  # how the heap is ordered

    def add(self, doubt: Doubt) -> None:
        """Take a doubt; its `report` is called once, when it is settled or can't be."""
        self._push(doubt)
        self._wake.set()

    def close(self) -> None:
        """End `run`."""
        self._closed = True
        self._wake.set()

    async def run(self) -> None:
        """Ask when a question is due, until `close`."""
        while not self._closed:
            await self._get_to_know()
            now = self._desk.clock.monotonic()
            due = self._heap[0][0] - now if self._heap else 3600.0
            if due > 0:
                self._wake = anyio.Event()
                with anyio.move_on_after(min(due, _HEAR_AGAIN_S) if self._access.unheard else due):
                    await self._wake.wait()
                continue
            batch = []
            while self._heap and self._heap[0][0] <= now:
                batch.append(heapq.heappop(self._heap)[2])
            for region in sorted({d.row.request.region for d in batch}):
                await self._ask_region(region, [d for d in batch if d.row.request.region == region])

    async def _get_to_know(self) -> None:
        """Ask something where it is unknown whether this is a simulator, whose time is shorter;
        order the doubts anew where that was learned."""
        if self._heap and self._access.unheard:
            row = self._heap[0][2].row
            await ask.snapshots_on(self._access, row.request.region, [row.disk_id])
        if self._scheduled_by != self._patience:
            self._scheduled_by = self._patience
            doubts = [doubt for _, _, doubt in self._heap]
            self._heap.clear()
            for doubt in doubts:
                self._push(doubt)

    @property
    def _patience(self) -> Patience:
        return patience(self._desk.settings, self._desk.waits, self._access.declared_s)

    def _due(self, doubt: Doubt) -> float:
        taken = self._patience
        if not doubt.final:
            return doubt.row.doubt_since + taken.looks_s[doubt.stage]
        # A request may arrive in the last moment of its signature, and be visible later still.
        dead_s = taken.signature_dead_s + self._access.ahead_s
        return doubt.row.doubt_since + dead_s + taken.looks_s[-1]

    def _push(self, doubt: Doubt) -> None:
        due = self._due(doubt)
        if doubt.failures:
            pause = min(60.0, 5.0 * 2 ** min(doubt.failures - 1, 4)) * self._patience.scale
            due = max(due, self._desk.clock.monotonic() + pause)
        heapq.heappush(self._heap, (due, next(self._order), doubt))

    async def _ask_region(self, region: str, doubts: list[Doubt]) -> None:
        for first in range(0, len(doubts), ask.DISKS_A_QUESTION):
            some = doubts[first : first + ask.DISKS_A_QUESTION]
            disk_ids = sorted({d.row.disk_id for d in some})
            asked_at = self._desk.clock.monotonic()
            answers = await ask.snapshots_on(self._access, region, disk_ids)
            failpoint("settle_asked")
            silence = await self._silence(region, some, answers)
            for doubt in some:
                if self._due(doubt) > asked_at:
                    self._push(doubt)  # the reply told that signatures live longer than was known
                else:
                    self._answered(doubt, answers[doubt.row.disk_id], silence)

    async def _silence(
        self, region: str, doubts: list[Doubt], answers: dict[str, ask.Answer[SnapshotFact]]
    ) -> ask.Silence:
        """What silence proves about the doubts that would be declared absent now."""
        silent = {
            d.row.disk_id: answers[d.row.disk_id]
            for d in doubts
            if (d.final or self._last_look(d)) and not self._matches(d.row, answers[d.row.disk_id])
        }
        return await ask.silence(self._access, region, silent, self._desk.say)

    def _last_look(self, doubt: Doubt) -> bool:
        return doubt.stage >= len(self._desk.waits.settle_s) - 1

    def _matches(self, row: Row, answer: ask.Answer[SnapshotFact]) -> list[str]:
        """Ids of the snapshots that are this row's."""
        before = set(row.baseline or ())
        ids = [
            fact.snapshot_id
            for fact in answer.facts
            if fact.disk_id == row.disk_id
            and fact.name == row.request.name
            and fact.snapshot_id not in before
        ]
        if ids and row.request.named and row.disk_id in self._desk.sink.fold.backup_disks:
            mine = self._desk.sink.fold.latest.get(row.key, {}).get("snapshot_id")
            others = self._claimed(row.disk_id) - {mine}
            ids = [i for i in ids if i not in others]
        return ids

    def _answered(
        self, doubt: Doubt, answer: ask.Answer[SnapshotFact], silence: ask.Silence
    ) -> None:
        row, desk = doubt.row, self._desk
        ids = self._matches(row, answer)
        if doubt.final:
            self._final(doubt, ids, answer, silence)
        elif ids:
            self._found(row, ids, desk)
            doubt.report(row, Settled.FOUND, ids[0])
        elif isinstance(answer, ask.Part):
            self._unanswered(doubt, answer.why)
        elif not self._last_look(doubt):
            doubt.stage += 1
            doubt.failures = 0
            self._push(doubt)
        elif (why := self._unproved(row, silence)) is not None:
            self._unanswered(doubt, why)
        else:
            self._absent(row, seen=silence.proves(row.disk_id))
            doubt.report(row, Settled.ABSENT, "")

    def _unproved(self, row: Row, silence: ask.Silence) -> ask.Unanswered | None:
        """Why silence does not end the row's doubt; None where it does.

        It does for a row that was taken out of the manifest though its disk is not seen: the row
        will not be sent, and where the disk is deleted nothing else could end the doubt.
        """
        if silence.proves(row.disk_id):
            return None
        why = silence.why(row.disk_id)
        gone = row.key in self._desk.sink.fold.gone
        return None if gone and why.code == ask.UNSEEN else why

    def _absent(self, row: Row, *, seen: bool) -> None:
        disk = "though the disk is visible" if seen else "nor is the disk visible"
        evidence = f"no snapshot named {row.request.name} on {row.disk_id}"
        if not self._access.disks_denied:
            evidence += f", {disk}"
        self._desk.note("settled", row, found=False, evidence=evidence)
        if not seen:  # if its row is ever put back, it is asked about again before it is sent
            why = ask.unseen(row.disk_id, row.request.region)
            self._desk.note("gave_up", row, code=why.code, message=why.message)

    def _final(
        self,
        doubt: Doubt,
        ids: list[str],
        answer: ask.Answer[SnapshotFact],
        silence: ask.Silence,
    ) -> None:
        """The last question: one snapshot is right, two are told, none is right only if none
        was promised."""
        row, desk = doubt.row, self._desk
        standing = desk.sink.fold.standing
        if isinstance(answer, ask.Part):
            self._unanswered(doubt, answer.why)
            return
        if not ids and (why := self._unproved(row, silence)) is not None:
            self._unanswered(doubt, why)
            return
        if ids and standing(row.key).state not in DONE:
            desk.note("in_doubt", row, code="settle.late", message="found after it was given up")
            self._found(row, ids, desk)
        elif ids and (second := self._second(row, ids)):
            desk.note("doubled", row, snapshot_ids=second)
        blind = not (ids or silence.proves(row.disk_id) or standing(row.key).state in DONE)
        why = silence.why(row.disk_id) if blind else None
        desk.note(
            "settled",
            row,
            found=bool(ids),
            final=True,
            code=why and why.code,
            message=why and why.message,
            evidence=f"{len(ids)} of this name: {ids}",
        )
        doubt.report(row, Settled.ASKED, "")

    def _second(self, row: Row, ids: list[str]) -> list[str]:
        """All snapshots of a row that has its own, where one of them is not that: its own may be
        too fresh to be shown, or gone."""
        latest = self._desk.sink.fold.latest.get(row.key, {})
        own = row.snapshot_id or latest.get("snapshot_id", "")
        claimed = {own} if own else self._claimed(row.disk_id)
        if claimed.issuperset(ids):
            return []
        return [*ids, own] if own and own not in ids else ids

    @staticmethod
    def _found(row: Row, ids: list[str], desk: Desk) -> None:
        evidence = f"{ids[0]} has the name {row.request.name} on {row.disk_id}"
        desk.note("settled", row, found=True, snapshot_id=ids[0], evidence=evidence)
        failpoint("settle_found")
        desk.note("accepted", row, snapshot_id=ids[0])
        if len(ids) > 1:
            desk.note("doubled", row, snapshot_ids=ids)

    def _unanswered(self, doubt: Doubt, why: ask.Unanswered) -> None:
        """Ask again later, or leave the doubt open where that can't help."""
        desk = self._desk
        doubt.failures += 1
        unseen = why.code == ask.UNSEEN and doubt.failures >= _UNSEEN_ASKS
        patient_since = self._due(doubt) if doubt.final else doubt.row.doubt_since
        patience = desk.settings.retry_for_s + self._patience.looks_s[-1]
        if not why.denied and not unseen and desk.clock.monotonic() - patient_since < patience:
            self._push(doubt)
            return
        if not doubt.final:
            desk.note("in_doubt", doubt.row, code=why.code, message=why.message)
        doubt.report(doubt.row, Settled.OPEN, "")
