"""Doubts, until the cloud has answered: the asking schedule, the proof, and the records of both.

A doubt is a row that may have been executed. It is asked about several times after the fault,
since a snapshot may become visible late and a request may arrive late. Found ends it. Absence
counts only at the last question, and only if this credential sees the disk. A row that was
settled absent and sent again is asked about once more when no earlier signature can be alive and
what came with its last breath can be seen; where its own snapshot is not among the answers then,
that is asked for by its id, and gone only after as many looks. Doubts hold no slot and stop no
feed.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from batchsnap.client import questions
from batchsnap.client.account import Account
from batchsnap.cloud.actions import SnapshotFact
from batchsnap.engine import evidence
from batchsnap.engine.attempt import RunContext
from batchsnap.engine.looks import Doubt, Looks, Settled
from batchsnap.engine.row import Row
from batchsnap.failpoints import failpoint
from batchsnap.lifecycle import DONE, State

_THERE = frozenset({State.ACCEPTED, State.READY})
_UNSEEN_ASKS = 3
_HEAR_AGAIN_S = 5.0
_IDLE_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Heard:
    """What the cloud said to one question."""

    answers: dict[str, questions.Answer[SnapshotFact]]  # by disk
    silence: questions.Silence
    owns: questions.Answer[SnapshotFact]  # of the snapshots that rows have, those not shown so far


class Settler:
    """Settles the doubts of one access."""

    def __init__(self, account: Account, context: RunContext, claimed: evidence.Claimed) -> None:
        self._account = account
        self._context = context
        self._claimed = claimed
        self._looks = Looks(account, context)
        self._wake = anyio.Event()
        self._closed = False

    def add(self, doubt: Doubt) -> None:
        """Take a doubt; its `report` is called once, when it is settled or can't be."""
        self._looks.add(doubt)
        self._wake.set()

    def close(self) -> None:
        """End `run`."""
        self._closed = True
        self._wake.set()

    async def run(self) -> None:
        """Ask when a question is due, until `close`."""
        while not self._closed:
            await self._get_to_know()
            now = self._context.clock.monotonic()
            pause = min(_IDLE_S, self._looks.next_due() - now)
            if pause > 0:
                self._wake = anyio.Event()
                with anyio.move_on_after(
                    min(pause, _HEAR_AGAIN_S) if self._account.unheard else pause
                ):
                    await self._wake.wait()
                continue
            batch = self._looks.take(now)
            for region in sorted({d.row.request.region for d in batch}):
                await self._ask_region(region, [d for d in batch if d.row.request.region == region])

    async def _get_to_know(self) -> None:
        """Ask something where it is unknown whether this is a simulator, whose time is shorter."""
        doubt = self._looks.first()
        if doubt is not None and self._account.unheard:
            row = doubt.row
            await questions.snapshots_on(self._account, row.request.region, [row.disk_id])

    async def _ask_region(self, region: str, doubts: list[Doubt]) -> None:
        for first in range(0, len(doubts), questions.DISKS_A_QUESTION):
            some = doubts[first : first + questions.DISKS_A_QUESTION]
            disk_ids = sorted({d.row.disk_id for d in some})
            asked_at = self._context.clock.monotonic()
            answers = await questions.snapshots_on(self._account, region, disk_ids)
            failpoint("settle_asked")
            silence = await self._silence(region, some, answers)
            owns = await self._owns(region, some, answers)
            for doubt in some:
                if self._looks.due(doubt) > asked_at:
                    self._looks.add(
                        doubt
                    )  # the reply told that signatures live longer than was known
                elif doubt.final:
                    self._final(doubt, _Heard(answers, silence, owns))
                else:
                    self._answered(doubt, answers[doubt.row.disk_id], silence)

    async def _silence(
        self, region: str, doubts: list[Doubt], answers: dict[str, questions.Answer[SnapshotFact]]
    ) -> questions.Silence:
        """What silence proves about the doubts that would be declared absent now."""
        silent = {
            d.row.disk_id: answers[d.row.disk_id]
            for d in doubts
            if (d.final or self._looks.last(d)) and not self._matches(d.row, answers[d.row.disk_id])
        }
        return await questions.silence(self._account, region, silent, self._context.say)

    async def _owns(
        self, region: str, doubts: list[Doubt], answers: dict[str, questions.Answer[SnapshotFact]]
    ) -> questions.Answer[SnapshotFact]:
        """Of the snapshots that rows were given, and that their disks' answers lack, those that
        are found by their ids."""
        sought = {
            self._promised(d.row): {f.snapshot_id for f in answers[d.row.disk_id].facts}
            for d in doubts
            if d.final and not self._matches(d.row, answers[d.row.disk_id])
        }
        ids = sorted(own for own, shown in sought.items() if own and own not in shown)
        return (
            await questions.snapshots_by_id(self._account, region, ids)
            if ids
            else questions.Whole(())
        )

    def _promised(self, row: Row) -> str:
        """The snapshot that is to be there: the row's own, unless it was deleted or is gone."""
        fold = self._context.sink.fold
        there = fold.standing(row.key).state in _THERE
        return evidence.own(row, fold, self._claimed) if there else ""

    def _matches(self, row: Row, answer: questions.Answer[SnapshotFact]) -> list[str]:
        return evidence.matches(row, answer.facts, self._context.sink.fold, self._claimed)

    def _answered(
        self, doubt: Doubt, answer: questions.Answer[SnapshotFact], silence: questions.Silence
    ) -> None:
        row, context = doubt.row, self._context
        ids = self._matches(row, answer)
        if ids:
            self._found(row, ids, context)
            doubt.report(row, Settled.FOUND, ids[0])
        elif isinstance(answer, questions.Part):
            self._unanswered(doubt, answer.why)
        elif not self._looks.last(doubt):
            doubt.stage += 1
            doubt.failures = 0
            self._looks.add(doubt)
        elif (why := self._unproved(row, silence)) is not None:
            self._unanswered(doubt, why)
        else:
            self._absent(row, seen=silence.proves(row.disk_id))
            doubt.report(row, Settled.ABSENT, "")

    def _unproved(self, row: Row, silence: questions.Silence) -> questions.Unanswered | None:
        """Why silence does not end the row's doubt; None where it does.

        It does for a row that was taken out of the manifest though its disk is not seen: the row
        will not be sent, and where the disk is deleted nothing else could end the doubt.
        """
        if silence.proves(row.disk_id):
            return None
        why = silence.why(row.disk_id)
        gone = row.key in self._context.sink.fold.gone
        return None if gone and why.code == questions.UNSEEN else why

    def _absent(self, row: Row, *, seen: bool) -> None:
        disk = "though the disk is visible" if seen else "nor is the disk visible"
        told = f"no snapshot named {row.request.name} on {row.disk_id}"
        if not self._account.disks_denied:
            told += f", {disk}"
        self._context.note("settled", row, found=False, evidence=told)
        if not seen:  # if its row is ever put back, it is asked about again before it is sent
            why = questions.unseen(row.disk_id, row.request.region)
            self._context.note("gave_up", row, code=why.code, message=why.message)

    def _final(self, doubt: Doubt, heard: _Heard) -> None:
        """The last question: one snapshot is right, two are told, none is right only if none
        was promised."""
        row, context = doubt.row, self._context
        standing, answer = context.sink.fold.standing, heard.answers[row.disk_id]
        ids = self._matches(row, answer)
        done = standing(row.key).state in DONE
        two = evidence.second(row, ids, context.sink.fold, self._claimed) if ids and done else []
        if isinstance(answer, questions.Part) and not two:
            self._unanswered(doubt, answer.why)
            return
        if not ids and (why := self._unproved(row, heard.silence)) is not None:
            self._unanswered(doubt, why)
            return
        told = f"{len(ids)} of this name: {ids}"
        if ids and not done:
            context.note("in_doubt", row, code="settle.late", message="found after it was given up")
            self._found(row, ids, context)
        elif two:
            context.note("doubled", row, snapshot_ids=two)
        elif not ids and (own := self._promised(row)):
            found = self._own(doubt, own, heard)
            if found is None:
                return
            told = found
        blind = not (ids or done or heard.silence.proves(row.disk_id))
        why = heard.silence.why(row.disk_id) if blind else None
        context.note(
            "settled",
            row,
            found=bool(ids or self._promised(row)),
            final=True,
            code=why and why.code,
            message=why and why.message,
            evidence=told,
        )
        doubt.report(row, Settled.ASKED, "")

    def _own(self, doubt: Doubt, own: str, heard: _Heard) -> str | None:
        """What became of a row's own snapshot that is not shown under its name; None where that
        is not known yet."""
        row, context = doubt.row, self._context
        facts = (*heard.answers[row.disk_id].facts, *heard.owns.facts)
        fact = next((fact for fact in facts if fact.snapshot_id == own), None)
        if fact is not None and fact.disk_id != row.disk_id:
            what = f"{own} is on {fact.disk_id}, the ledger has it on {row.disk_id}: look at both"
            context.say(what)
            self._unanswered(doubt, questions.Unanswered(True, "settle.other_disk", what))
            return None
        if fact is not None:
            if fact.name == row.request.name:
                return f"{own} is there"
            context.say(f"{own} of {row.disk_id} was renamed to {fact.name}")
            return f"{own} is there, renamed to {fact.name}"
        if isinstance(heard.owns, questions.Part):
            self._unanswered(doubt, heard.owns.why)
            return None
        if doubt.missed_at is not None and self._looks.last(doubt):
            context.note("vanished", row, snapshot_id=own)
            return f"{own} is gone"
        if doubt.missed_at is None:
            doubt.missed_at = context.clock.monotonic()
        else:
            doubt.stage += 1
        doubt.failures = 0
        self._looks.add(doubt)
        return None

    @staticmethod
    def _found(row: Row, ids: list[str], context: RunContext) -> None:
        told = f"{ids[0]} has the name {row.request.name} on {row.disk_id}"
        context.note("settled", row, found=True, snapshot_id=ids[0], evidence=told)
        failpoint("settle_found")
        context.note("accepted", row, snapshot_id=ids[0])
        if len(ids) > 1:
            context.note("doubled", row, snapshot_ids=ids)

    def _unanswered(self, doubt: Doubt, why: questions.Unanswered) -> None:
        """Ask again later, or leave the doubt open where that can't help."""
        context = self._context
        doubt.failures += 1
        unseen = why.code == questions.UNSEEN and doubt.failures >= _UNSEEN_ASKS
        patient_since = self._looks.due(doubt) if doubt.final else doubt.row.doubt_since
        patience = context.settings.retry_for_s + self._looks.patience.looks_s[-1]
        if not why.denied and not unseen and context.clock.monotonic() - patient_since < patience:
            self._looks.add(doubt)
            return
        if not doubt.final:
            context.note("in_doubt", doubt.row, code=why.code, message=why.message)
        doubt.report(doubt.row, Settled.OPEN, "")
