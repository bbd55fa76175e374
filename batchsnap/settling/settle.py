"""Doubts, until the cloud has answered: one coroutine a row, from the fault to the proof.

A doubt is a row that may have been executed. It is asked about several times after the fault, since
a snapshot may become visible late and a request may arrive late. Found ends it. Absence counts only
at the last look, and only if this credential sees the disk. A row that was settled absent and sent
again is asked about once more when no earlier signature can be alive, and what came just before it
died can be seen. Doubts hold no slot and stop no feed.

The time line of a doubt, with looks at 5, 15, 30 and 60 s and a signature that lives for 300 s. A
call for disk-1 is sent at 0:00 and its reply is lost; the cloud carries it out at 0:20.

    0:00  the intent is on disk, the call is sent, the connection is reset: in doubt since 0:00
    0:05  first look: nothing of that name on disk-1, which proves nothing, for lists lag
    0:15  second look: nothing
    0:30  third look: there it is. Settled as found, and accepted: one row, one snapshot

Had the way to the cloud held the call back, and let it through at 1:40:

    1:00  fourth and last look: the answer is whole, disk-1 is seen, the name is not: absent
    1:00  sent again under the same name, and accepted as snap-B. The row is at rest but for its
          last question: the cloud takes what was signed at 0:00 until 5:00
    1:40  the first call arrives and makes snap-A, and nobody is told
    6:00  the last question. What was signed at 0:00 can't arrive after 5:00, and what arrived then
          is shown by 6:00. Two of the name are there: doubled, exit 1. It is never silent.

The clock of the last question is `doubt_since`, the latest moment at which a doubted attempt can
have left: had the second call been lost too, at 1:00, it would be asked at 7:00. Where the row's
own snapshot is not among the answers, it is asked for by its id, and gone only after as many looks.
"""

from __future__ import annotations

from enum import StrEnum

from batchsnap.client import questions
from batchsnap.client.account import Account
from batchsnap.cloud.pages import SnapshotFact
from batchsnap.failpoints import failpoint
from batchsnap.lifecycle import DONE, Event
from batchsnap.settling import evidence
from batchsnap.settling.looks import Doubt, Heard, Looks
from batchsnap.settling.row import Row, RunContext

_UNSEEN_ASKS = 3


class Settled(StrEnum):
    """What became of a doubt."""

    FOUND = "found"
    ABSENT = "absent"
    OPEN = "open"  # no answer is to be had; the doubt stays


class Settler:
    """Settles the doubts of one account."""

    def __init__(self, account: Account, context: RunContext, claimed: evidence.GivenOn) -> None:
        self._account = account
        self._context = context
        self._claimed = claimed
        self._looks = Looks(account, context, claimed)

    async def run(self) -> None:
        """Ask when a look is due; all the others await it."""
        await self._looks.run()

    async def settle(self, row: Row) -> Settled:
        """Look until it is known whether the row's snapshot is there, and record it."""
        doubt = Doubt(row)
        while True:
            heard = await self._looks.next_look(doubt)
            answer = heard.answers[row.disk_id]
            ids = self._looks.matches(row, answer)
            if ids:
                self._found(row, ids)
                row.snapshot_id = ids[0]
                return Settled.FOUND
            if isinstance(answer, questions.Part):
                why: questions.Unanswered | None = answer.why
            elif not self._looks.last(doubt):
                doubt.stage += 1
                doubt.failures = 0
                continue
            else:
                why = self._unproved(row, heard.silence)
            if why is None:
                self._absent(row, seen=heard.silence.proves(row.disk_id))
                return Settled.ABSENT
            if not self._may_ask_again(doubt, why):
                self._context.note(Event.IN_DOUBT, row, code=why.code, message=why.message)
                return Settled.OPEN

    async def ask_last(self, row: Row) -> None:
        """Ask the last question of a row that was sent again, and record the answer: one snapshot
        is right, two are told, none is right only if none was promised."""
        doubt = Doubt(row, final=True)
        while True:
            heard = await self._looks.next_look(doubt)
            told = self._judged(doubt, heard)
            if isinstance(told, questions.Unanswered):
                if self._may_ask_again(doubt, told):
                    continue
                return
            if told is not None:
                self._asked(row, heard, told)
                return

    def _judged(self, doubt: Doubt, heard: Heard) -> str | questions.Unanswered | None:
        """What the answer to a last question tells; None where the next look tells more."""
        row, context = doubt.row, self._context
        fold, answer = context.sink.fold, heard.answers[row.disk_id]
        ids = self._looks.matches(row, answer)
        done = fold.standing(row.key).state in DONE
        two = evidence.second(row, ids, fold, self._claimed) if ids and done else []
        if isinstance(answer, questions.Part) and not two:
            return answer.why
        if not ids and (why := self._unproved(row, heard.silence)) is not None:
            return why
        if ids and not done:
            context.note(
                Event.IN_DOUBT, row, code="settle.late", message="found after it was given up"
            )
            self._found(row, ids)
        elif two:
            context.note(Event.DOUBLED, row, snapshot_ids=two)
        elif not ids and (own := self._looks.promised(row)):
            return self._own(doubt, own, heard)
        return f"{len(ids)} of this name: {ids}"

    def _asked(self, row: Row, heard: Heard, told: str) -> None:
        """Record the answer to a last question."""
        done = self._context.sink.fold.standing(row.key).state in DONE
        ids = self._looks.matches(row, heard.answers[row.disk_id])
        blind = not (ids or done or heard.silence.proves(row.disk_id))
        why = heard.silence.why(row.disk_id) if blind else None
        self._context.note(
            Event.SETTLED,
            row,
            found=bool(ids or self._looks.promised(row)),
            final=True,
            code=why and why.code,
            message=why and why.message,
            evidence=told,
        )

    def _own(self, doubt: Doubt, own: str, heard: Heard) -> str | questions.Unanswered | None:
        """What became of a row's own snapshot that is not shown under its name; None where that
        is not known yet."""
        row, context = doubt.row, self._context
        facts = (*heard.answers[row.disk_id].facts, *heard.owns.facts)
        fact = next((fact for fact in facts if fact.snapshot_id == own), None)
        if fact is not None:
            return self._shown(row, fact)
        if isinstance(heard.owns, questions.Part):
            return heard.owns.why
        if doubt.missed_at is not None and self._looks.last(doubt):
            context.note(Event.VANISHED, row, snapshot_id=own)
            return f"{own} is gone"
        if doubt.missed_at is None:
            doubt.missed_at = context.clock.monotonic()
        else:
            doubt.stage += 1
        doubt.failures = 0
        return None

    def _shown(self, row: Row, fact: SnapshotFact) -> str | questions.Unanswered:
        """A row's own snapshot is shown, though not under its name on its disk."""
        own, say = fact.snapshot_id, self._context.say
        if fact.disk_id != row.disk_id:
            what = f"{own} is on {fact.disk_id}, the ledger has it on {row.disk_id}: look at both"
            say(what)
            return questions.Unanswered(True, "settle.other_disk", what)
        if fact.name == row.request.name:
            return f"{own} is there"
        say(f"{own} of {row.disk_id} was renamed to {fact.name}")
        return f"{own} is there, renamed to {fact.name}"

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
        what, maker = "source" if row.request.source_id else "disk", self._context.maker
        disk = f"though the {what} is visible" if seen else f"nor is the {what} visible"
        told = f"no snapshot named {row.request.name} {maker.where(row.request)}"
        if not self._account.disks_denied:
            told += f", {disk}"
        self._context.note(Event.SETTLED, row, found=False, evidence=told)
        if not seen:  # if its row is ever put back, it is asked about again before it is sent
            why = maker.unseen(row.request, row.request.region)
            self._context.note(Event.GAVE_UP, row, code=why.code, message=why.message)

    def _found(self, row: Row, ids: list[str]) -> None:
        context = self._context
        told = f"{ids[0]} has the name {row.request.name} {context.maker.where(row.request)}"
        context.note(Event.SETTLED, row, found=True, snapshot_id=ids[0], evidence=told)
        failpoint("settle_found")
        context.note(Event.ACCEPTED, row, snapshot_id=ids[0])
        if len(ids) > 1:
            context.note(Event.DOUBLED, row, snapshot_ids=ids)

    def _may_ask_again(self, doubt: Doubt, why: questions.Unanswered) -> bool:
        """Count a look that proved nothing; False where more of them can't help."""
        context = self._context
        doubt.failures += 1
        unseen = why.code == questions.UNSEEN and doubt.failures >= _UNSEEN_ASKS
        since = self._looks.due(doubt) if doubt.final else doubt.row.doubt_since
        patience_s = context.settings.retry_for_s + self._looks.patience.looks_s[-1]
        return not why.denied and not unseen and context.clock.monotonic() - since < patience_s
