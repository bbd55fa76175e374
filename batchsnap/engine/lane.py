"""One quota at work: which row goes next, how many are out, when the quota rests.

A lane serves its strands in turn, so a manifest sorted by region feeds all regions, and a region
that rests or is halted holds up nobody. Rows are handed to `attempt`; this file only decides what
follows from each outcome.
"""

from __future__ import annotations

import math
from collections import deque
from functools import partial

import anyio

from batchsnap.client import questions
from batchsnap.client.account import Account
from batchsnap.cloud.codes import QUOTAS
from batchsnap.engine.attempt import RunContext, attempt, details_of, refusal
from batchsnap.engine.brakes import Brakes
from batchsnap.engine.evidence import Claimed
from batchsnap.engine.feeder import Feeder
from batchsnap.engine.halts import Fate, Halts, Held
from batchsnap.engine.looks import Doubt, Settled
from batchsnap.engine.row import Row
from batchsnap.engine.settle import Settler
from batchsnap.engine.slots import AHEAD_MAX, Slots
from batchsnap.engine.snapshots import Pile, Snapshot
from batchsnap.engine.strand import Strand
from batchsnap.engine.turns import Turns
from batchsnap.engine.watch import Intents, Watcher
from batchsnap.ledger.gap import Gap
from batchsnap.lifecycle import TABLE
from batchsnap.model import Ruling, Scope, Verdict
from batchsnap.retry import DOUBTS_MAX, Decision, Do, quota_breaker
from batchsnap.settings import written
from batchsnap.suspicion import Next

_LOOK_AGAIN_S = 1.0
_LOOK_AT = 100  # disks, as many as a question may name
_LATER_S = 0.001  # a moment is over when the clock is past it


class Lane:
    """The owner of one quota's rows."""

    def __init__(
        self,
        account: Account,
        strands: list[Strand],
        context: RunContext,
        *,
        halts: Halts,
        brakes: Brakes,
        claimed: Claimed,
        intents: Intents,
        ask_first: Gap,
        send: bool,
        wait: bool,
    ) -> None:
        self.account = account
        self.expired = False  # nothing was accepted for --retry-for
        self._ended = False
        self._strands = deque(strands)
        self._context = context
        self._halts = halts
        self._brakes = brakes
        self._wait = wait
        self._watcher = Watcher(account, context, self._changed, intents=intents)
        self._send = send
        self._settler = Settler(account, context, claimed)
        self._asking = 0  # rows that the settler has
        self._doubts = 0  # those of them that are in doubt, not only owed a last question
        brakes.join(self._at_work)
        halts.join(strands, self._wake_up)
        self._slots = Slots(context.settings)
        self._breaker = quota_breaker(context.waits)
        self._turns = Turns()
        self._wake = anyio.Event()
        self._opened_at = self._progress_at = context.clock.monotonic()
        self._feeder = Feeder(
            account,
            context,
            halts,
            ahead=min(AHEAD_MAX, max(1, math.ceil(context.settings.rate_per_s))),
            ask_first=ask_first,
            doubt=lambda strand, row: self._doubt(strand, row, self._opened_at),
            owe=self._owe,
            changed=self._wake_up,
        )

    async def run(self) -> None:
        """Do all rows, or as many as the cloud, the user and the ledger let us.

        Raises:
            LedgerUnwritable: nothing was sent after it.
        """
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._settler.run)
            tasks.start_soon(self._watcher.run)
            for strand in self._strands:
                tasks.start_soon(self._feeder.feed, strand)
            while not self._over():
                picked = self._pick()
                if picked is None:
                    await self._rest()
                else:
                    tasks.start_soon(self._slot, *self._launched(*picked))
            self._halts.leave(self._strands)
            await self._brakes.fed()
            if self._wait:
                with self._context.stop.ends():
                    await self._watcher.drained()
            self._ended = True
            tasks.cancel_scope.cancel()

    def watch(self, accepted: Snapshot | Pile) -> None:
        """Await what was accepted."""
        if isinstance(accepted, Pile):
            self._watcher.take(accepted)
        else:
            self._watcher.add(accepted)

    def _halted(self, strand: Strand) -> bool:
        return self._halts.of(strand.profile, strand.region) is not None

    def _over(self) -> bool:
        if self._slots.out:
            return False
        if self._context.stop.stopping or self.expired:
            return True
        return all(s.idle() or (self._halted(s) and not s.unsettled) for s in self._strands)

    def _pick(self) -> tuple[Strand, Row] | None:
        """The next row and its strand, or None where nothing may be sent now."""
        context = self._context
        now = context.clock.monotonic()
        if context.stop.stopping or self.expired or self._blocked():
            return None
        if now < self._breaker.rest_until or now > self._spent_at():
            return None
        for _ in range(len(self._strands)):
            strand = self._strands[0]
            self._strands.rotate(-1)
            if self._halted(strand):
                for dropped in strand.drop():
                    self._turns.leave(dropped)
                continue
            if strand.rests(now):
                continue
            rests = self._halts.rests(strand)
            if rests and not self._halts.wants_probe(strand):
                continue
            while (row := strand.probe(now) if rests else strand.pick(now)) is not None:
                if not self._turns.waits(strand, row):
                    return strand, row
        return None

    def _next_due(self, strand: Strand) -> float:
        """When the strand's next row may be sent; +inf where that needs something else first."""
        rests = self._halts.rests(strand)
        if self._halted(strand) or (rests and not self._halts.wants_probe(strand)):
            return math.inf
        return strand.next_due(probing=rests)

    def _spent_at(self) -> float:
        """When patience ends, with a series of faults or with a region that takes nothing."""
        settings = self._context.settings
        spent_at = self._breaker.spent_at(settings.retry_for_s, settings.settle_for_s)
        if any(strand.breaker.tripped for strand in self._strands):
            spent_at = min(spent_at, self._progress_at + settings.retry_for_s)
        return spent_at

    def _blocked(self) -> bool:
        """Whether no row at all may be started until something else has ended."""
        return (
            self._slots.full
            or (self._breaker.tripped and self._slots.out > 0)
            or not self._brakes.may_start()
        )

    async def _rest(self) -> None:
        """Wait until something changes or falls due."""
        context = self._context
        now = context.clock.monotonic()
        if self._halts.ended():
            self._heed()
            return
        due = min((self._next_due(strand) for strand in self._strands), default=math.inf)
        spent_at = self._spent_at()
        if now <= spent_at:
            due = min(max(due, self._breaker.rest_until), spent_at + _LATER_S)
        elif self._slots.out or self._doubts:
            due = math.inf  # a reply, or a doubt with a patience of its own, may be good news
        else:
            patience = written(context.settings.retry_for_s)
            context.say(f"{self.account.host}: nothing accepted for {patience}, giving up for now")
            self.expired = True
            return
        self._wake = anyio.Event()
        stopping = context.stop.stopping
        # What ends a block wakes us; only a brake may be let go by another lane.
        wakened = stopping or self._blocked()
        delay = _LOOK_AGAIN_S if wakened else min(60.0, max(0.001, due - now))
        with anyio.move_on_after(delay) if stopping else context.stop.ends(delay) as waited:
            await self._wake.wait()
        if waited.cancelled_caught:
            self._braked(self._brakes.despair(), None)

    def _at_work(self) -> bool:
        busy = self._slots.out > 0 or self._asking > 0 or self._watcher.waits
        return busy and not self._ended

    def _launched(self, strand: Strand, row: Row) -> tuple[Strand, Row]:
        self._slots.take()
        self._brakes.launched()
        strand.in_flight += 1
        self._halts.started(strand, row)
        self._turns.take(row)
        return strand, row

    async def _slot(self, strand: Strand, row: Row) -> None:
        """Do a row, and whatever row may be started where it ends: a task costs time."""
        while True:
            await self._attempt(strand, row)
            picked = self._pick()
            if picked is None:
                return
            strand, row = self._launched(*picked)

    async def _attempt(self, strand: Strand, row: Row) -> None:
        ruling, decision = await attempt(
            row, self.account, self._context, self._halts, started=self._started
        )
        self._slots.leave()
        strand.in_flight -= 1
        if ruling is not None:
            now = self._context.clock.monotonic()
            self._breaker.note(ruling.verdict, now)
            strand.breaker.note(ruling.verdict, now)
            if ruling.verdict is Verdict.ACCEPTED:
                self._progress_at = now
                row.snapshot_id = ruling.snapshot_id
            self._follow(strand, row, ruling, decision, now)
        else:
            self._turns.leave(row)
        if decision.do is not Do.HOLD:
            self._halts.heard(strand, row, ruling)
        self._changed(row)

    def _started(self) -> None:
        """An attempt has its token, or will never need one."""
        self._brakes.under_way()
        if self._slots.started():
            self._wake_up()

    def _changed(self, row: Row | None = None) -> None:
        """Something may start now that might not before; or a brake says that nothing may."""
        self._heed()
        self._braked(self._brakes.review(), row)
        self._wake_up()

    def _braked(self, why: str, row: Row | None) -> None:
        """Record a brake's halt, if there is one, with a row whose life allows it."""
        if not why:
            return
        standing = self._context.sink.fold.standing
        for told in (row, *(strand.first() for strand in self._strands)):
            if told is not None and "halted" in TABLE[standing(told.key).state]:
                self._context.note("halted", told, scope="run", code="brake", message=why)
                return

    def _heed(self) -> None:
        """Record what suspects have stopped."""
        for row, ruling in self._halts.news():
            scope = Scope.REGION if ruling.scope is None else ruling.scope
            self._context.note("halted", row, **details_of(ruling), scope=scope.value)

    def _wake_up(self) -> None:
        self._wake.set()

    def _follow(
        self, strand: Strand, row: Row, ruling: Ruling, decision: Decision, now: float
    ) -> None:
        """Do what was decided."""
        if decision.do is Do.WAIT:
            strand.put_later(row, max(now + decision.delay_s, strand.breaker.rest_until))
        elif decision.do is Do.SETTLE:
            row.last = ruling
            row.rejection = None if ruling.verdict is Verdict.IN_DOUBT else ruling
            self._doubt(strand, row, now)
        elif decision.do is Do.HOLD:
            self._hold(strand, row, ruling)
        elif decision.do is Do.HALT:
            self._halts.halt(strand.profile, strand.region, ruling)
            self._turns.leave(row)
        else:
            self._at_rest(strand, row)

    def _hold(self, strand: Strand, row: Row, ruling: Ruling) -> None:
        """A suspect: it was not executed, and waits for what other rows meet."""
        self._turns.leave(row)
        held, following = self._halts.hold(strand, row, ruling)
        strand.held += 1
        self._tasks.start_soon(self._held, strand, held)
        if following is Next.LOOK:
            self._tasks.start_soon(self._look, strand)

    async def _held(self, strand: Strand, held: Held) -> None:
        row, ruling = held.row, held.ruling
        fate = await held.fate()
        if fate is not Fate.HALTED and ruling.code.partition(".")[0] in QUOTAS:
            row.remark = await self._remark(row)
        strand.held -= 1
        if fate is Fate.AGAIN:
            row.tries.cleared = True
            strand.put_first(row)
        elif fate is Fate.REFUSED:
            self._refuse(strand, row, refusal(row, ruling))
        self._changed(row)

    def _refuse(self, strand: Strand, row: Row, ruling: Ruling) -> None:
        """The row will never work, as others have shown; if it was in doubt, after a last look."""
        doubted = self._context.sink.fold.standing(row.key).doubted
        self._context.note("in_doubt" if doubted else "rejected", row, **details_of(ruling))
        if doubted:
            row.rejection = ruling
            self._doubt(strand, row, self._context.clock.monotonic())
        else:
            self._at_rest(strand, row)

    async def _remark(self, row: Row) -> str:
        """What the disk itself says of a quota: it words the remedy and decides nothing."""
        answer = await questions.disks(self.account, row.request.region, [row.disk_id])
        counts = [fact.snapshot_count for fact in answer.facts if fact.disk_id == row.disk_id]
        return f"this disk holds {counts[0]} snapshots" if counts else ""

    async def _look(self, strand: Strand) -> None:
        """The first rows of a region were not found: does this credential see any of the next?"""
        coming = strand.coming(_LOOK_AT)
        seen = None
        if coming:
            answer = await questions.disks(self.account, strand.region, coming)
            seen = True if answer.facts else False if isinstance(answer, questions.Whole) else None
        self._halts.looked(strand, seen, len(coming))
        self._changed()

    def _doubt(self, strand: Strand, row: Row, since: float) -> None:
        row.doubt_since = since
        self._turns.take(row)
        self._ask(strand, row)

    def _ask(self, strand: Strand, row: Row, *, final: bool = False) -> None:
        strand.unsettled += 1
        self._asking += 1
        self._doubts += not final
        self._settler.add(Doubt(row, partial(self._settled, strand, final), final=final))

    def _settled(
        self, strand: Strand, final: bool, row: Row, settled: Settled, snapshot_id: str
    ) -> None:
        strand.unsettled -= 1
        self._asking -= 1
        self._doubts -= not final
        now = self._context.clock.monotonic()
        if settled is Settled.ABSENT:
            self._absent(strand, row)
        elif settled is Settled.FOUND:
            self._progress_at = now
            self._breaker.note(Verdict.ACCEPTED, now)  # as good a sign of life
            row.snapshot_id = snapshot_id
            if row.number:  # this process sent it
                self._halts.accepted(strand, row)
            self._at_rest(strand, row)
        else:
            self._turns.leave(row)
        self._changed(row)

    def _absent(self, strand: Strand, row: Row) -> None:
        """The doubt is over: the row is sent again, unless it was refused or its time is spent."""
        refusal, row.rejection = row.rejection, None
        spent = row.tries.doubts >= DOUBTS_MAX
        if refusal is None and not spent:
            if not self._send:
                self._turns.leave(row)
            elif not row.request.line:
                self._at_rest(strand, row)  # gone from the manifest: settled, and not sent again
            else:
                strand.put_first(row)
            return
        last = refusal or row.last
        final = refusal is not None and refusal.verdict is Verdict.REJECTED
        self._context.note("rejected" if final else "gave_up", row, **details_of(last))
        self._at_rest(strand, row)

    def _at_rest(self, strand: Strand, row: Row) -> None:
        if self._context.sink.fold.standing(row.key).owed:
            self._owe(strand, row)
        self._turns.leave(row)

    def _owe(self, strand: Strand, row: Row) -> None:
        """The row is at rest but for its last question."""
        row.doubt_since = row.doubt_since or self._opened_at
        self._ask(strand, row, final=True)
