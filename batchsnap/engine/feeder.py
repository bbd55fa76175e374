"""Feeds a queue: what an earlier process left open first, then its worklist, a little ahead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import anyio

from batchsnap.client.account import Account
from batchsnap.client.questions import DISKS_A_QUESTION, Unanswered
from batchsnap.engine.attempt import details_of
from batchsnap.engine.halts import Halts
from batchsnap.engine.preflight import Known, Short, needs_question, preflight
from batchsnap.engine.queue import Queue
from batchsnap.ledger.gap import Gap
from batchsnap.ledger.record import stamp, unstamp
from batchsnap.lifecycle import Event, State
from batchsnap.model import PlannedRequest, Ruling, Scope, Verdict
from batchsnap.retry import Do
from batchsnap.settings import EXPIRE_AFTER_MIN_S
from batchsnap.settling.row import Row, RunContext, resumed
from batchsnap.suspicion import PROBES

_ANY = 1 << 30  # rows ready: they are no reason to wait
_SHORT_AGAIN_S = 30.0
_SHORT_MAX = 1_000
"""So many rows that were deferred for a short answer are held and asked about again; further ones
are for the next run, or a cloud that answers short always would fill the memory."""


class Feeder:
    """Takes up the rows of queues as fast as there is room for them."""

    def __init__(
        self,
        account: Account,
        context: RunContext,
        halts: Halts,
        *,
        ahead: int,
        live: int,
        ask_first: Gap,
        begin: Callable[[Queue, Row, Do], None],
        changed: Callable[[], None],
    ) -> None:
        """`ahead`: rows kept ready in a queue, `live`: rows of it that may be taken up at once.
        `begin` takes up a row that is to be settled, or at rest but for its last question;
        `changed` is called when rows are ready."""
        self._account = account
        self._context = context
        self._halts = halts
        self._ahead = ahead
        self._live = live
        self._ask_first = ask_first
        self._opened_at = context.clock.monotonic()
        self._begin = begin
        self._changed = changed
        self._rejections: object = None  # the handle of the latest

    async def feed(self, queue: Queue) -> None:
        """Doubts of earlier lives first, for their disks are theirs until it is known what became
        of them; then the fresh rows, and beside those the ones that only await a question."""
        await self._resume_doubts(queue)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._resume_owed, queue)
            await self._feed_fresh(queue)
        queue.exhausted = True
        queue.close()
        self._changed()

    async def _feed_fresh(self, queue: Queue) -> None:
        if self._ask_first is Gap.LOST:
            await self._shown()
        short: list[Row] = []
        for batch in queue.worklist.batches(DISKS_A_QUESTION):
            await queue.room(self._ahead, self._live)
            if self._halted(queue):
                return
            rows = await self._admitted(queue, batch, short)
            if rows is None:
                return
            self._ready(queue, rows)
            if not await self._scout(queue, short):
                return
        await self._again(queue, short)

    async def _admitted(
        self, queue: Queue, batch: list[PlannedRequest], short: list[Row]
    ) -> list[Row] | None:
        """The rows of a batch that may be sent; None where the feed is at its end. `short` is
        given those that are to be asked about again."""
        admitted = [self._admit(queue, request) for request in batch]
        rows = [row for row in admitted if row is not None]
        if len(rows) < len(batch):
            # Rejections wait for the disk, or a manifest full of them would fill the memory.
            await self._context.sink.durable(self._rejections)
        if any(needs_question(row, self._context, ask_first=self._ask_first) for row in rows):
            known = await self._known(queue, rows)
            if known is None:
                return None
            rows = known.ready
            short += self._defer(known.short, room=_SHORT_MAX - len(short))
        return rows

    async def _scout(self, queue: Queue, short: list[Row]) -> bool:
        """Keep some rows from further on at hand, which may be sent when the queue rests; whether
        the feed goes on."""
        missing = PROBES - len(queue.scouts)
        batch = queue.worklist.from_elsewhere(missing, self._ahead) if missing > 0 else []
        if not batch:
            return True
        rows = await self._admitted(queue, batch, short)
        if rows is None:
            return False
        self._ready(queue, rows, scouts=True)
        return True

    async def _known(self, queue: Queue, rows: list[Row]) -> Known | None:
        """What is known of the rows; None where the cloud refuses to tell, or the run stops."""
        answer = await preflight(
            rows, self._account, self._context, region=queue.region, ask_first=self._ask_first
        )
        if isinstance(answer, Unanswered):
            self._refused(queue, rows, answer)
            return None
        return answer

    def _defer(self, short: list[Short], *, room: int) -> list[Row]:
        """Record rows about which too little is known; those that this process asks about again."""
        now = stamp(self._context.clock.wall() + _SHORT_AGAIN_S)
        for row, why in short:
            message = f"{row.disk_id or row.request.disk_backup_id}: {why.message}"
            self._context.note(Event.DEFERRED, row, code=why.code, message=message, not_before=now)
        return [row for row, _ in short[: max(0, room)]]

    async def _again(self, queue: Queue, short: list[Row]) -> None:
        """Ask about deferred rows again, until all is known or --retry-for is spent; what is left
        stays deferred. The rest of the queue has been fed."""
        context = self._context
        patient_until = context.clock.monotonic() + context.settings.retry_for_s
        while short and context.clock.monotonic() < patient_until:
            self._changed()
            with context.stop.ends():
                await context.clock.sleep(_SHORT_AGAIN_S)
            asked, short = short, []
            for first in range(0, len(asked), DISKS_A_QUESTION):
                if self._halted(queue):
                    return
                known = await self._known(queue, asked[first : first + DISKS_A_QUESTION])
                if known is None:
                    return
                self._ready(queue, known.ready)
                short += [row for row, _ in known.short]

    def _halted(self, queue: Queue) -> bool:
        halted = self._halts.of(queue.profile, queue.region) is not None
        return self._context.stop.stopping or halted

    async def _shown(self) -> None:
        """Wait until a lost record's call, made by whoever had the ledger before, must show: an
        answer before that proves nothing, as with any doubt."""
        context = self._context
        longest = context.waits.settle_s[-1] * context.settings.settle_scale
        with context.stop.ends():
            await context.clock.sleep(
                max(0.0, self._opened_at + longest - context.clock.monotonic())
            )

    def _admit(self, queue: Queue, request: PlannedRequest) -> Row | None:
        """The row, unless it can't be sent any more: then it is refused, once it is settled."""
        context = self._context
        row = self._resumed(request)
        wall = context.clock.wall()
        deadline = row.request.deadline
        if deadline and datetime.fromisoformat(deadline).timestamp() < wall + EXPIRE_AFTER_MIN_S:
            why = f"Deadline {deadline} is less than a day ahead; the cloud takes no earlier one"
            ruling = Ruling(Verdict.REJECTED, "plan.deadline", why, "", "", None)
            doubted = context.sink.fold.standing(row.key).doubted
            event = Event.IN_DOUBT if doubted else Event.REJECTED
            self._rejections = context.note(event, row, **details_of(ruling))
            if doubted:
                row.rejection = ruling
                self._begin(queue, row, Do.SETTLE)
            return None
        return row

    def _ready(self, queue: Queue, rows: list[Row], *, scouts: bool = False) -> None:
        """Rows that may be sent, those that an earlier process deferred when their time comes."""
        latest = self._context.sink.fold.latest
        wall, now = self._context.clock.wall(), self._context.clock.monotonic()
        for row in rows:
            not_before = latest[row.key].get("not_before", "") if row.key in latest else ""
            ahead = unstamp(not_before) - wall if not_before else 0.0
            if ahead > 0:
                row.due = now + min(ahead, self._context.waits.busy_max_s)
                queue.put_back(row, now)
            elif scouts:
                queue.scouts.append(row)
            else:
                queue.put(row)
        self._changed()

    async def _resume_owed(self, queue: Queue) -> None:
        for batch in queue.owed.batches(DISKS_A_QUESTION):
            await queue.room(_ANY, self._live)
            for request in batch:
                self._begin(queue, self._resumed(request), Do.DONE)

    async def _resume_doubts(self, queue: Queue) -> None:
        """Doubts that an earlier process left: settled from when this one opened the ledger."""
        for batch in queue.doubts.batches(DISKS_A_QUESTION):
            await queue.room(_ANY, self._live)
            for request in batch:
                row = self._resume_doubt(request)
                if row is not None:
                    self._begin(queue, row, Do.SETTLE)

    def _resume_doubt(self, request: PlannedRequest) -> Row | None:
        context = self._context
        row = self._resumed(request)
        state = context.sink.fold.standing(request.key).state
        if state is State.SENT:
            why = "the process ended before an outcome was recorded"
            context.note(Event.IN_DOUBT, row, code="ledger.no_outcome", message=why)
        elif state is not State.IN_DOUBT:
            why = f"was in doubt before it was {state}: asked about before it is sent again"
            context.note(Event.IN_DOUBT, row, code="ledger.asked_again", message=why)
        if row.request.named and row.baseline is None:
            return None  # which same-named snapshot is ours can't be known; a person must look
        return row

    def _resumed(self, request: PlannedRequest) -> Row:
        return resumed(self._context.sink.fold, request, ask_first=bool(self._ask_first))

    def _refused(self, queue: Queue, rows: list[Row], answer: Unanswered) -> None:
        if not answer.denied:
            return  # the run stops
        ruling = Ruling(Verdict.HALT, answer.code, answer.message, "", "", Scope.REGION)
        self._context.note(Event.HALTED, rows[0], **details_of(ruling), scope=Scope.REGION.value)
        self._halts.halt(queue.profile, queue.region, ruling)
