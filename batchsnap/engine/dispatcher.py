"""One quota at work: which row goes next, how many are out, and each row's life from turn to rest.

How a row walks, in `_to_rest`, from top to bottom:

    its turn   the dispatcher serves its queues one after the other, so that a manifest sorted by
               region feeds all regions, and one that rests or is halted holds up nobody. A row
               starts when it is due, a slot is free, and no other row of its disk is at work
    attempt    intent on disk, token, call, outcome on disk (`attempt`)
    then       as was decided: it waits for another turn (busy, throttled); it is asked about
               (in doubt) and found, or absent and sent again; it is held until other rows tell
               whether its account is meant (a suspect); or it is at rest
    at rest    if it was absent once and sent again: its last question, after six minutes

One coroutine lives all of that. It begins when the row has its first turn; a row that waits in a
queue for that has none. One that has brought its row to rest goes on with the next fresh row, for
a task a row would cost more than the call's own bookkeeping.

A row that lives takes some 7 KB, so of one quota LIVE_MAX rows at most do so at once. A fleet of
which ten thousand disks are busy, or in doubt, is fed no further until some of them are at rest.
"""

from __future__ import annotations

import math
from functools import partial

import anyio

from batchsnap.client.account import Account
from batchsnap.clock import Alarm
from batchsnap.cloud.codes import QUOTAS
from batchsnap.engine.attempt import attempt, details_of, refusal, refuse
from batchsnap.engine.feeder import Feeder
from batchsnap.engine.halts import Fate, Halts, coming_seen, disk_remark
from batchsnap.engine.limits import AHEAD_MAX, Limits
from batchsnap.engine.queue import Queue
from batchsnap.engine.turns import Turns
from batchsnap.ledger.gap import Gap
from batchsnap.lifecycle import Event
from batchsnap.model import Ruling, Verdict
from batchsnap.retry import DOUBTS_MAX, Do
from batchsnap.settings import written
from batchsnap.settling.evidence import GivenOn
from batchsnap.settling.row import Row, RunContext, Stage
from batchsnap.settling.settle import Settled, Settler
from batchsnap.settling.snapshots import Pile, Snapshot
from batchsnap.settling.watch import Intents, Watcher
from batchsnap.suspicion import Next

LIVE_MAX = 10_000
"""So many rows of a quota may be on their way at once, shared out among its queues."""
_LIVE_MIN = 100  # of one queue
_LOOK_AGAIN_S = 1.0
_AT_REST = frozenset({Do.DONE, Do.GIVE_UP})


class Dispatcher:
    """The owner of one quota's rows."""

    def __init__(
        self,
        account: Account,
        queues: list[Queue],
        context: RunContext,
        *,
        halts: Halts,
        limits: Limits,
        claimed: GivenOn,
        intents: Intents,
        ask_first: Gap,
        send: bool,
        wait: bool,
    ) -> None:
        self.account = account
        self._ended = False
        self._turns = Turns(account, queues, context, halts, limits)
        self._context = context
        self._halts = halts
        self._limits = limits
        self._wait = wait
        self._send = send
        self._watcher = Watcher(account, context, self._changed, intents=intents)
        self._settler = Settler(account, context, claimed)
        self._alarm = Alarm()
        self._opened_at = context.clock.monotonic()
        limits.join(self)
        halts.join(queues, self._alarm.ring)
        self._feeder = Feeder(
            account,
            context,
            halts,
            ahead=min(AHEAD_MAX, max(1, math.ceil(context.settings.rate_per_s))),
            live=max(_LIVE_MIN, LIVE_MAX // max(1, len(queues))),
            ask_first=ask_first,
            begin=self._begin,
            changed=self._alarm.ring,
        )

    async def run(self) -> None:
        """Do all rows, or as many as the cloud, the user and the ledger let us.

        Raises:
            LedgerUnwritable: nothing was sent after it.
        """
        self._context.stop.tell(self._alarm.ring)
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._settler.run)
            tasks.start_soon(self._watcher.run)
            for queue in self._turns.queues:
                tasks.start_soon(self._feeder.feed, queue)
            while not self._turns.over():
                picked = self._turns.next()
                if picked is None:
                    await self._rest()
                else:
                    tasks.start_soon(self._bring, *picked, Do.WAIT)
            self._halts.leave(self._turns.queues)
            await self._limits.fed()
            if self._wait:
                with self._context.stop.ends():
                    await self._watcher.drained()
            self._ended = True
            tasks.cancel_scope.cancel()  # whoever waits still, leaves its row as the ledger has it

    def watch(self, accepted: Snapshot | Pile) -> None:
        """Await what was accepted."""
        if isinstance(accepted, Pile):
            self._watcher.take(accepted)
        else:
            self._watcher.add(accepted)

    async def _bring(self, queue: Queue, row: Row, do: Do) -> None:
        """Bring a row to rest, and whatever fresh row may be started then."""
        await self._to_rest(queue, row, do)
        while (picked := self._turns.next()) is not None:
            if not self._turns.slots.full(self._turns.out):
                self._alarm.ring()  # there is room for more than this one
            await self._to_rest(*picked, Do.WAIT)
        self._alarm.ring()

    async def _to_rest(self, queue: Queue, row: Row, do: Do | None) -> None:
        """Bring a row to rest, or leave it for another run. `do`: what comes first."""
        ruling: Ruling | None = None
        while True:
            if do is Do.WAIT and (row.stage is Stage.STAGED or await self._turn(queue, row)):
                ruling, do = await self._attempt(queue, row)
            elif do is Do.HOLD and ruling is not None:
                do = await self._hold(queue, row, ruling)
            elif do is Do.SETTLE:
                do = await self._settle(queue, row)
            else:
                break
            self._turns.review(row)
        self._turns.disks.leave(row)
        if do in _AT_REST and self._context.sink.fold.standing(row.key).owed:
            await self._ask_last(queue, row)
            self._turns.review(row)

    async def _turn(self, queue: Queue, row: Row) -> bool:
        """Wait until a row that comes back is started; False where its scope is halted first."""
        row.turn = anyio.Event()
        queue.put_back(row, self._context.clock.monotonic())
        self._alarm.ring()
        await row.turn.wait()
        return row.stage is Stage.STAGED

    async def _attempt(self, queue: Queue, row: Row) -> tuple[Ruling | None, Do | None]:
        """Send the row; what became of that, and what is to be done now."""
        under_way = partial(self._under_way, queue, row)
        ruling, decision = await attempt(
            row, self.account, self._context, self._halts, queue.breaker, started=under_way
        )
        queue.move(row, None)
        do: Do | None = decision.do
        if ruling is None:
            do = None  # nothing was sent, for the run stops or the scope is halted
        else:
            now = self._context.clock.monotonic()
            self._turns.came_back(ruling)
            if ruling.verdict is Verdict.ACCEPTED:
                row.snapshot_id = ruling.snapshot_id
            elif do is Do.WAIT:
                row.due = max(now + decision.delay_s, queue.breaker.rest_until)
            elif do is Do.SETTLE:
                row.last, row.doubt_since = ruling, now
                row.rejection = None if ruling.verdict is Verdict.IN_DOUBT else ruling
            elif do is Do.HALT:
                self._halts.halt(queue.profile, queue.region, ruling)
        if do is not Do.HOLD:
            self._halts.heard(queue, row, ruling)
        return ruling, do

    async def _hold(self, queue: Queue, row: Row, ruling: Ruling) -> Do | None:
        """A suspect: it was not executed, and what other rows meet tells what becomes of it."""
        self._turns.disks.leave(row)
        held, following = self._halts.hold(queue, row, ruling)
        self._move(queue, row, Stage.HELD)
        if following is Next.LOOK:
            self._halts.looked(queue, *await coming_seen(self.account, queue, self._context.maker))
            self._changed()
        fate = await held.fate()
        if fate is not Fate.HALTED and ruling.code.partition(".")[0] in QUOTAS:
            row.remark = await disk_remark(self.account, row)
        queue.move(row, None)
        if fate is Fate.AGAIN:
            row.tries.cleared = True
            row.due = -math.inf
            return Do.WAIT
        if fate is Fate.HALTED:
            return None
        return refuse(row, refusal(row, ruling), self._context)

    async def _settle(self, queue: Queue, row: Row) -> Do | None:
        """Ask about a row in doubt. Absent, it is sent again, unless it was refused or its time is
        spent."""
        self._turns.disks.take(row)
        self._move(queue, row, Stage.ASKED)
        settled = await self._settler.settle(row)
        queue.move(row, None)
        if settled is Settled.OPEN:
            return None
        if settled is Settled.FOUND:
            self._turns.found()
            if row.number:  # this process sent it
                self._halts.accepted(queue, row)
            return Do.DONE
        refused, row.rejection = row.rejection, None
        if refused is None and row.tries.doubts < DOUBTS_MAX:
            row.due = -math.inf
            if not self._send:
                return None
            # One that is gone from the manifest is settled, and not sent again.
            return Do.WAIT if row.request.line else Do.DONE
        final = refused is not None and refused.verdict is Verdict.REJECTED
        why = details_of(refused or row.last)
        self._context.note(Event.REJECTED if final else Event.GAVE_UP, row, **why)
        return Do.DONE

    async def _ask_last(self, queue: Queue, row: Row) -> None:
        row.doubt_since = row.doubt_since or self._opened_at
        self._move(queue, row, Stage.OWED)
        await self._settler.ask_last(row)
        queue.move(row, None)

    def _begin(self, queue: Queue, row: Row, do: Do) -> None:
        """Take up a row that is not sent first: a doubt of an earlier life, or one at rest that
        awaits its last question."""
        queue.move(row, Stage.ASKED if do is Do.SETTLE else Stage.OWED)
        if do is Do.SETTLE:
            row.doubt_since = self._opened_at
            self._turns.disks.take(row)
        self._tasks.start_soon(self._bring, queue, row, do)

    @property
    def staged(self) -> int:
        """Rows on their way to a token, which the ledger may not know yet."""
        return self._turns.at[Stage.STAGED]

    @property
    def at_work(self) -> bool:
        """Whether something is under way here that may let a brake go."""
        at = self._turns.at
        asking = at[Stage.ASKED] + at[Stage.OWED]
        return bool(self._turns.out or asking or self._watcher.waits) and not self._ended

    def _move(self, queue: Queue, row: Row, stage: Stage) -> None:
        """The row waits there; others may go meanwhile."""
        queue.move(row, stage)
        self._alarm.ring()

    async def _rest(self) -> None:
        """Wait until something changes or falls due."""
        context, turns = self._context, self._turns
        if self._halts.ended():
            self._turns.heed()
            return
        due = turns.due()
        if turns.expired:
            patience = written(context.settings.retry_for_s)
            context.say(f"{self.account.host}: nothing accepted for {patience}, giving up for now")
            return
        # What ends a block wakes us; only a brake may be let go by another dispatcher.
        now, wakened = context.clock.monotonic(), context.stop.stopping or turns.blocked()
        delay_s = _LOOK_AGAIN_S if wakened else min(60.0, max(0.001, due - now))
        if await self._alarm.wait(delay_s):
            self._turns.despair()

    def _under_way(self, queue: Queue, row: Row) -> None:
        """An attempt has its token, or will never need one."""
        queue.move(row, Stage.OUT)
        self._turns.slots.started(self.staged)
        if not self._turns.slots.full(self._turns.out):
            self._alarm.ring()

    def _changed(self, row: Row | None = None) -> None:
        """Something may start now that might not before; or a brake says that nothing may."""
        self._turns.review(row)
        self._alarm.ring()
