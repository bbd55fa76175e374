"""Feeds a strand: what an earlier process left open first, then its worklist, a little ahead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from batchsnap.client.account import Account
from batchsnap.client.questions import DISKS_A_QUESTION, Unanswered
from batchsnap.engine.attempt import RunContext, details_of
from batchsnap.engine.halts import Halts
from batchsnap.engine.preflight import Known, Short, needs_question, preflight
from batchsnap.engine.row import Row, resumed
from batchsnap.engine.strand import Strand
from batchsnap.ledger.gap import Gap
from batchsnap.ledger.record import stamp, unstamp
from batchsnap.lifecycle import State
from batchsnap.model import PlannedRequest, Ruling, Scope, Verdict
from batchsnap.settings import EXPIRE_AFTER_MIN_S
from batchsnap.suspicion import PROBES

_SHORT_AGAIN_S = 30.0
_SHORT_MAX = 1_000
"""So many rows that were deferred for a short answer are held and asked about again; further ones
are for the next run, or a cloud that answers short always would fill the memory."""


class Feeder:
    """The feeding half of a lane."""

    def __init__(
        self,
        account: Account,
        context: RunContext,
        halts: Halts,
        *,
        ahead: int,
        ask_first: Gap,
        doubt: Callable[[Strand, Row], None],
        owe: Callable[[Strand, Row], None],
        changed: Callable[[], None],
    ) -> None:
        """`ahead`: rows kept ready. `doubt` takes a row to be settled, `owe` one that waits for
        its last question, `changed` is called when rows are ready."""
        self._account = account
        self._context = context
        self._halts = halts
        self._ahead = ahead
        self._ask_first = ask_first
        self._opened_at = context.clock.monotonic()
        self._doubt = doubt
        self._owe = owe
        self._changed = changed
        self._rejections: object = None  # the handle of the latest

    async def feed(self, strand: Strand) -> None:
        for request in strand.doubts:
            self._resume_doubt(strand, request)
        for request in strand.owed:
            self._owe(strand, self._resumed(request))
        if self._ask_first is Gap.LOST:
            await self._shown()
        short: list[Row] = []
        for batch in strand.worklist.batches(DISKS_A_QUESTION):
            await strand.room(self._ahead)
            if self._halted(strand):
                break
            rows = await self._admitted(strand, batch, short)
            if rows is None:
                break
            self._ready(strand, rows)
            if not await self._scout(strand, short):
                break
        else:
            await self._again(strand, short)
        strand.exhausted = True
        strand.worklist.close()
        self._changed()

    async def _admitted(
        self, strand: Strand, batch: list[PlannedRequest], short: list[Row]
    ) -> list[Row] | None:
        """The rows of a batch that may be sent; None where the feed is at its end. `short` is
        given those that are to be asked about again."""
        admitted = [self._admit(strand, request) for request in batch]
        rows = [row for row in admitted if row is not None]
        if len(rows) < len(batch):
            # Rejections wait for the disk, or a manifest full of them would fill the memory.
            await self._context.sink.durable(self._rejections)
        if any(needs_question(row, self._context, ask_first=self._ask_first) for row in rows):
            known = await self._known(strand, rows)
            if known is None:
                return None
            rows = known.ready
            short += self._defer(known.short, room=_SHORT_MAX - len(short))
        return rows

    async def _scout(self, strand: Strand, short: list[Row]) -> bool:
        """Keep some rows from further on at hand, which may be sent when the strand rests; whether
        the feed goes on."""
        missing = PROBES - len(strand.scouts)
        batch = strand.worklist.from_elsewhere(missing, self._ahead) if missing > 0 else []
        if not batch:
            return True
        rows = await self._admitted(strand, batch, short)
        if rows is None:
            return False
        self._ready(strand, rows, scouts=True)
        return True

    async def _known(self, strand: Strand, rows: list[Row]) -> Known | None:
        """What is known of the rows; None where the cloud refuses to tell, or the run stops."""
        answer = await preflight(
            rows, self._account, self._context, region=strand.region, ask_first=self._ask_first
        )
        if isinstance(answer, Unanswered):
            self._refused(strand, rows, answer)
            return None
        return answer

    def _defer(self, short: list[Short], *, room: int) -> list[Row]:
        """Record rows about which too little is known; those that this process asks about again."""
        now = stamp(self._context.clock.wall() + _SHORT_AGAIN_S)
        for row, why in short:
            message = f"{row.disk_id or row.request.disk_backup_id}: {why.message}"
            self._context.note("deferred", row, code=why.code, message=message, not_before=now)
        return [row for row, _ in short[: max(0, room)]]

    async def _again(self, strand: Strand, short: list[Row]) -> None:
        """Ask about deferred rows again, until all is known or --retry-for is spent; what is left
        stays deferred. The rest of the strand has been fed."""
        context = self._context
        patient_until = context.clock.monotonic() + context.settings.retry_for_s
        while short and context.clock.monotonic() < patient_until:
            self._changed()
            with context.stop.ends():
                await context.clock.sleep(_SHORT_AGAIN_S)
            asked, short = short, []
            for first in range(0, len(asked), DISKS_A_QUESTION):
                if self._halted(strand):
                    return
                known = await self._known(strand, asked[first : first + DISKS_A_QUESTION])
                if known is None:
                    return
                self._ready(strand, known.ready)
                short += [row for row, _ in known.short]

    def _halted(self, strand: Strand) -> bool:
        halted = self._halts.of(strand.profile, strand.region) is not None
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

    def _admit(self, strand: Strand, request: PlannedRequest) -> Row | None:
        """The row, unless it can't be sent any more: then it is refused, once it is settled."""
        context = self._context
        row = self._resumed(request)
        wall = context.clock.wall()
        deadline = row.request.deadline
        if deadline and datetime.fromisoformat(deadline).timestamp() < wall + EXPIRE_AFTER_MIN_S:
            why = f"Deadline {deadline} is less than a day ahead; the cloud takes no earlier one"
            ruling = Ruling(Verdict.REJECTED, "plan.deadline", why, "", "", None)
            doubted = context.sink.fold.standing(row.key).doubted
            event = "in_doubt" if doubted else "rejected"
            self._rejections = context.note(event, row, **details_of(ruling))
            if doubted:
                row.rejection = ruling
                self._doubt(strand, row)
            return None
        return row

    def _ready(self, strand: Strand, rows: list[Row], *, scouts: bool = False) -> None:
        """Rows that may be sent, those that an earlier process deferred when their time comes."""
        latest = self._context.sink.fold.latest
        wall, now = self._context.clock.wall(), self._context.clock.monotonic()
        for row in rows:
            not_before = latest.get(row.key, {}).get("not_before", "")
            ahead = unstamp(not_before) - wall if not_before else 0.0
            if ahead > 0:
                strand.put_later(row, now + min(ahead, self._context.waits.busy_max_s))
            elif scouts:
                strand.scouts.append(row)
            else:
                strand.put([row])
        self._changed()

    def _resume_doubt(self, strand: Strand, request: PlannedRequest) -> None:
        """A doubt that an earlier process left: settled from when this one opened the ledger."""
        context = self._context
        row = self._resumed(request)
        state = context.sink.fold.standing(request.key).state
        if state is State.SENT:
            why = "the process ended before an outcome was recorded"
            context.note("in_doubt", row, code="ledger.no_outcome", message=why)
        elif state is not State.IN_DOUBT:
            why = f"was in doubt before it was {state}: asked about before it is sent again"
            context.note("in_doubt", row, code="ledger.asked_again", message=why)
        if row.request.named and row.baseline is None:
            return  # which same-named snapshot is ours can't be known; a person must look
        self._doubt(strand, row)

    def _resumed(self, request: PlannedRequest) -> Row:
        return resumed(self._context.sink.fold, request, ask_first=bool(self._ask_first))

    def _refused(self, strand: Strand, rows: list[Row], answer: Unanswered) -> None:
        if not answer.denied:
            return  # the run stops
        ruling = Ruling(Verdict.HALT, answer.code, answer.message, "", "", Scope.REGION)
        self._context.note("halted", rows[0], **details_of(ruling), scope=Scope.REGION.value)
        self._halts.halt(strand.profile, strand.region, ruling)
