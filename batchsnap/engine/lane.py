"""One quota at work: which row goes next, how many are out, when the quota rests.

A lane serves its strands in turn, so a manifest sorted by region feeds all regions, and a region
that rests or is halted holds up nobody. Rows are handed to `attempt`; this file only decides what
follows from each outcome.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

import anyio
from anyio.abc import TaskGroup

from batchsnap.engine.access import Access
from batchsnap.engine.ask import Unanswered
from batchsnap.engine.attempt import Desk, attempt
from batchsnap.engine.halts import Halts
from batchsnap.engine.preflight import needs_question, preflight
from batchsnap.engine.row import Row
from batchsnap.engine.settle import Claimed, Doubt, Settled, Settler
from batchsnap.engine.strand import Strand
from batchsnap.ledger.record import unstamp
from batchsnap.lifecycle import State
from batchsnap.model import PlannedRequest, Ruling, Scope, Verdict
from batchsnap.retry import Decision, Do, quota_breaker
from batchsnap.settings import EXPIRE_AFTER_MIN_S

_BATCH = 10  # rows that one question can cover
_AHEAD_MAX = 1000


class Lane:
    """The owner of one quota's rows."""

    def __init__(
        self,
        access: Access,
        strands: list[Strand],
        desk: Desk,
        halts: Halts,
        claimed: Claimed,
        *,
        ask_first: bool,
        send: bool = True,
    ) -> None:
        self.access = access
        self.expired = False  # nothing was accepted for --retry-for
        self._strands = deque(strands)
        self._desk = desk
        self._halts = halts
        self._ask_first = ask_first
        self._send = send
        self._settler = Settler(access, desk, claimed)
        rate = desk.settings.rate_per_s
        self._ahead = min(_AHEAD_MAX, max(1, math.ceil(rate)))
        self._staging = anyio.Semaphore(max(1, math.ceil(min(rate, _AHEAD_MAX) / 2)))
        self._breaker = quota_breaker(desk.waits)
        self._in_flight = 0
        self._owner: dict[str, str] = {}  # disk -> key of the row that is at work on it
        self._behind: dict[str, deque[tuple[Strand, Row]]] = {}  # rows that wait for their disk
        self._wake = anyio.Event()
        self._opened_at = self._progress_at = desk.clock.monotonic()

    async def run(self) -> None:
        """Do all rows, or as many as the cloud, the user and the ledger let us.

        Raises:
            LedgerUnwritable: nothing was sent after it.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._settler.run)
            for strand in self._strands:
                tasks.start_soon(self._feed, strand)
            while not self._over():
                picked = self._pick()
                if picked is None:
                    await self._rest()
                else:
                    self._launch(tasks, *picked)
            tasks.cancel_scope.cancel()

    # -- feeding -----------------------------------------------------------------------------

    async def _feed(self, strand: Strand) -> None:
        for request in strand.doubts:
            self._resume_doubt(strand, request)
        for request in strand.owed:
            row = Row(request, self._desk.sink.fold.intents.get(request.key))
            self._owe(strand, row)
        for batch in strand.worklist.batches(_BATCH):
            await strand.room(self._ahead)
            if self._desk.stop.stopping or self._halted(strand):
                break
            admitted = (self._admit(request) for request in batch)
            rows = [row for row in admitted if row is not None]
            if any(needs_question(row, ask_first=self._ask_first) for row in rows):
                answer = await preflight(
                    rows, self.access, self._desk, region=strand.region, ask_first=self._ask_first
                )
                if isinstance(answer, Unanswered):
                    self._refused(strand, answer)
                    break
                rows = answer
            self._ready(strand, rows)
        strand.exhausted = True
        strand.worklist.close()
        self._wake.set()

    def _admit(self, request: PlannedRequest) -> Row | None:
        """The row, unless it can't be sent any more or must wait."""
        desk = self._desk
        row = Row(request, desk.sink.fold.intents.get(request.key))
        wall = desk.clock.wall()
        if desk.settings.expire_after_s and not row.request.deadline:
            moment = datetime.fromtimestamp(int(wall + desk.settings.expire_after_s), UTC)
            row.request = row.request._replace(deadline=moment.isoformat())
        deadline = row.request.deadline
        if deadline and datetime.fromisoformat(deadline).timestamp() < wall + EXPIRE_AFTER_MIN_S:
            why = f"Deadline {deadline} is less than a day ahead; the cloud takes no earlier one"
            desk.note("rejected", row, code="plan.deadline", message=why, verdict="REJECTED")
            return None
        return row

    def _ready(self, strand: Strand, rows: list[Row]) -> None:
        """Rows that may be sent, those that an earlier process deferred when their time comes."""
        latest = self._desk.sink.fold.latest
        wall, now = self._desk.clock.wall(), self._desk.clock.monotonic()
        for row in rows:
            not_before = latest.get(row.key, {}).get("not_before", "")
            ahead = unstamp(not_before) - wall if not_before else 0.0
            if ahead > 0:
                strand.put_later(row, now + min(ahead, self._desk.waits.busy_max_s))
            else:
                strand.put([row])
        self._wake.set()

    def _resume_doubt(self, strand: Strand, request: PlannedRequest) -> None:
        """A doubt that an earlier process left: settled from when this one opened the ledger."""
        desk = self._desk
        intent = desk.sink.fold.intents.get(request.key)
        row = Row(request, intent)
        if desk.sink.fold.standing(request.key).state is not State.IN_DOUBT:
            why = "the process ended before an outcome was recorded"
            desk.note("in_doubt", row, code="ledger.no_outcome", message=why)
        if intent is None and request.named:
            return  # which same-named snapshot is ours can't be known; a person must look
        self._doubt(strand, row, self._opened_at)

    def _refused(self, strand: Strand, answer: Unanswered) -> None:
        if not answer.denied:
            return  # the run stops
        ruling = Ruling(Verdict.HALT, answer.code, answer.message, "", "", Scope.REGION)
        self._halts.halt(strand.profile, strand.region, ruling)

    # -- choosing ----------------------------------------------------------------------------

    def _halted(self, strand: Strand) -> bool:
        return self._halts.of(strand.profile, strand.region) is not None

    def _over(self) -> bool:
        if self._in_flight:
            return False
        if self._desk.stop.stopping or self.expired:
            return True
        return all(s.idle() or (self._halted(s) and not s.unsettled) for s in self._strands)

    def _pick(self) -> tuple[Strand, Row] | None:
        """The next row and its strand, or None where nothing may be sent now."""
        desk = self._desk
        now = desk.clock.monotonic()
        stopped = desk.stop.stopping or self.expired
        if stopped or self._in_flight >= desk.settings.max_in_flight:
            return None
        if self._breaker.tripped and (self._in_flight or now < self._breaker.rest_until):
            return None
        for _ in range(len(self._strands)):
            strand = self._strands[0]
            self._strands.rotate(-1)
            if self._halted(strand):
                strand.drop()
                continue
            if strand.rests(now):
                continue
            while (row := strand.pick(now)) is not None:
                if self._owner.get(row.disk_id, row.key) == row.key:
                    return strand, row
                self._behind.setdefault(row.disk_id, deque()).append((strand, row))
                strand.unsettled += 1
        return None

    async def _rest(self) -> None:
        """Wait until something changes or falls due."""
        desk = self._desk
        now = desk.clock.monotonic()
        due = min((s.next_due() for s in self._strands if not self._halted(s)), default=now + 60)
        due = max(due, self._breaker.rest_until)
        silent = now - self._progress_at
        resting = self._breaker.tripped or any(s.breaker.tripped for s in self._strands)
        if resting and not self._in_flight and silent > desk.settings.retry_for_s:
            minutes = desk.settings.retry_for_s / 60
            desk.say(f"{self.access.host}: nothing accepted for {minutes:g} min, giving up for now")
            self.expired = True
            return
        self._wake = anyio.Event()
        probing = self._breaker.tripped and self._in_flight > 0
        full = self._in_flight >= desk.settings.max_in_flight
        delay = 60.0 if probing or full else min(60.0, max(0.001, due - now))
        with anyio.move_on_after(delay):
            if desk.stop.stopping:
                await self._wake.wait()
            else:
                with desk.stop.ends():
                    await self._wake.wait()

    # -- one attempt and what follows --------------------------------------------------------

    def _launch(self, tasks: TaskGroup, strand: Strand, row: Row) -> None:
        self._in_flight += 1
        strand.in_flight += 1
        self._owner[row.disk_id] = row.key
        tasks.start_soon(self._attempt, strand, row)

    async def _attempt(self, strand: Strand, row: Row) -> None:
        ruling, decision = await attempt(row, self.access, self._desk, self._halts, self._staging)
        self._in_flight -= 1
        strand.in_flight -= 1
        if ruling is not None:
            now = self._desk.clock.monotonic()
            self._breaker.note(ruling.verdict, now)
            strand.breaker.note(ruling.verdict, now)
            if ruling.verdict is Verdict.ACCEPTED:
                self._progress_at = now
            self._follow(strand, row, ruling, decision, now)
        self._wake.set()

    def _follow(
        self, strand: Strand, row: Row, ruling: Ruling, decision: Decision, now: float
    ) -> None:
        """Do what was decided."""
        if decision.do is Do.WAIT:
            strand.put_later(row, max(now + decision.delay_s, strand.breaker.rest_until))
        elif decision.do is Do.SETTLE:
            row.rejection = None if ruling.verdict is Verdict.IN_DOUBT else ruling
            self._doubt(strand, row, now)
        elif decision.do is Do.HALT:
            self._halts.halt(strand.profile, strand.region, ruling)
            self._leave(row)
        else:
            self._at_rest(strand, row)

    def _doubt(self, strand: Strand, row: Row, since: float) -> None:
        row.doubt_since = since
        strand.unsettled += 1
        self._owner[row.disk_id] = row.key
        self._settler.add(Doubt(row, self._reporter(strand)))

    def _reporter(self, strand: Strand) -> Callable[[Row, Settled], None]:
        return lambda row, settled: self._settled(strand, row, settled)

    def _settled(self, strand: Strand, row: Row, settled: Settled) -> None:
        strand.unsettled -= 1
        now = self._desk.clock.monotonic()
        if settled is Settled.ABSENT:
            self._absent(strand, row, now)
        elif settled is Settled.FOUND:
            self._progress_at = now
            self._at_rest(strand, row)
        else:
            self._leave(row)
        self._wake.set()

    def _absent(self, strand: Strand, row: Row, now: float) -> None:
        """The doubt is over: the row is sent again, unless it was refused or its time is spent."""
        refusal, row.rejection = row.rejection, None
        spent = 0 <= row.tries.since < now - self._desk.settings.retry_for_s
        if refusal is None and not spent:
            if self._send:
                strand.put_first(row)
            else:
                self._leave(row)
            return
        details = {}
        if refusal is not None:
            details = {
                "code": refusal.code,
                "message": refusal.message,
                "verdict": refusal.verdict.value,
                "request_id": refusal.request_id,
            }
        final = refusal is not None and refusal.verdict is Verdict.REJECTED
        self._desk.note("rejected" if final else "gave_up", row, **details)
        self._at_rest(strand, row)

    def _at_rest(self, strand: Strand, row: Row) -> None:
        if self._desk.sink.fold.standing(row.key).owed:
            self._owe(strand, row)
        self._leave(row)

    def _owe(self, strand: Strand, row: Row) -> None:
        """The row is at rest but for its last question."""
        row.doubt_since = row.doubt_since or self._opened_at
        strand.unsettled += 1
        self._settler.add(Doubt(row, self._reporter(strand), final=True))

    def _leave(self, row: Row) -> None:
        """The row is done with its disk: the next one on it may go."""
        if self._owner.get(row.disk_id) == row.key:
            del self._owner[row.disk_id]
        behind = self._behind.get(row.disk_id)
        if not behind:
            return
        strand, following = behind.popleft()
        if not behind:
            del self._behind[row.disk_id]
        strand.unsettled -= 1
        strand.put_first(following)
