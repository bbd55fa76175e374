"""The one writing session of a process: its locks, its heartbeat, the group commit of its quotas.

One statement at a time: while a group is on its way, what is appended gathers in the next one. Each
half second a heartbeat reads the newest number of every owned quota; the leases are renewed by its
answer, and by nothing else, for `select 1` would prove no ownership.

A lost session is a stall, no loss. What was unanswered is neither repeated nor believed before the
next session has each lock again and has seen what is there: our last number (write the group), or
the group's own last line (it was carried out), or something else (the quota is another's now).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from batchsnap.clock import Clock
from batchsnap.errors import LedgerError
from batchsnap.failpoints import failpoint
from batchsnap.postgres import recovery
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import Away, Database, Fenced
from batchsnap.postgres.hold import REPLACED, TAKEN, Batch, Hold
from batchsnap.postgres.lease import Clocks
from batchsnap.postgres.schema import SESSION_S

Say = Callable[[str], None]
_T = TypeVar("_T")
_BEAT_S = 0.5
_ZOMBIE_S = 8.0  # so long our own former session may keep a lock from us
_AGAIN_S = 0.1


class Session:
    """Use `run` as a task; everything else from the same event loop."""

    def __init__(
        self,
        address: Address,
        clock: Clock,
        say: Say,
        *,
        patience_s: float = math.inf,
        observe: Callable[[Database], None] = lambda _: None,
        server: recovery.Server | None = None,
    ) -> None:
        """`observe` is called in the worker thread after each heartbeat. Away for `patience_s`,
        every quota is lost; so is what is adopted of another `server`."""
        self._address = address
        self._clock = clock
        self.clocks = Clocks(clock)
        self._outage = recovery.Outage(clock, say, patience_s, address.database)
        self._server = server  # of the latest session
        self._observe = observe
        self._database: Database | None = None
        self._former: set[int] = set()  # backends that were ours
        self._holds: dict[int, Hold] = {}
        self._group = self._new_group()
        self._sent: Batch | None = None  # unanswered
        self._jobs: list[tuple[Callable[[Database], Any], asyncio.Future[Any]]] = []
        self._wake = anyio.Event()
        self._beat_at = -math.inf
        self._closing = False
        self._ended = ""
        self.hurried = False  # the process is to end, and waits for no outage to do so
        self.failure: LedgerError | None = None  # the database can't be used, whoever tries

    @property
    def away(self) -> bool:
        """Whether there is no session now."""
        return self._database is None

    # What others ask for.

    def append(self, hold: Hold, line: str, *, failed: bool = False) -> Batch:
        """Take the quota's next record; its group's `done` is set once it is durable, or lost with
        the quota."""
        hold.seq += 1
        group = self._group
        group.entries.append((hold, hold.seq, line))
        if failed:
            group.failed[hold.quota] = group.failed.get(hold.quota, 0) + 1
        return group

    async def call(self, job: Callable[[Database], _T]) -> _T:
        """Run statements between two groups.

        Raises:
            Away, Fenced: whether they were carried out is not known.
        """
        if self._ended:
            raise Away(self._ended)
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._jobs.append((job, future))
        self._wake.set()
        return await future

    def adopt(self, hold: Hold) -> None:
        """Keep what a job has locked and claimed; the next heartbeat gives its first lease."""
        self._holds[hold.quota] = hold
        self._beat_at = -math.inf
        self._wake.set()

    def drop(self, hold: Hold) -> None:
        """It is released, or lost."""
        self._holds.pop(hold.quota, None)

    def close(self) -> None:
        """End `run` once all is written."""
        self._closing = True
        self._wake.set()

    # The session's own task.

    async def run(self) -> None:
        """Serve until `close`; sets `failure` where the database can't be used."""
        try:
            while self.failure is None and not self._over:
                try:
                    if self._database is None:
                        await self._connect()
                    else:
                        await self._serve()
                except Away as away:
                    await self._lost()
                    await self._outage.endure(away, closing=self._closing or self.hurried)
        except LedgerError as error:
            self.failure = error
        finally:
            self._end(str(self.failure or "the session was closed"))

    @property
    def _over(self) -> bool:
        return self._closing and not self._group.entries and self._sent is None and not self._jobs

    async def _serve(self) -> None:
        """One thing that is due: the group, a job, the heartbeat; or wait for one."""
        if self._sent is None and self._group.entries and self._may_wait_s() <= 0:
            self._sent, self._group = self._group, self._new_group()
        written = self._sent is not None or bool(self._jobs)
        if self._sent is not None:
            await self._commit(self._sent)
        elif self._jobs:
            await self._work(*self._jobs.pop(0))
        if self._beat_in_s() <= 0:
            await self._beat()
        self._outage.good(written=written)
        if not self._jobs and (wait_s := self._may_wait_s()) > 0:
            with anyio.move_on_after(wait_s):
                await self._wake.wait()
        self._wake = anyio.Event()

    def _new_group(self) -> Batch:
        return Batch(lambda: self._wake.set())  # noqa: PLW0108  (another one each time)

    def _beat_in_s(self) -> float:
        return self._beat_at + _BEAT_S - self._clock.monotonic()

    def _may_wait_s(self) -> float:
        """How long a group may gather: until somebody waits for it, or the next heartbeat."""
        return 0.0 if self._group.wanted or self._closing else self._beat_in_s()

    async def _answered(self, statement: Callable[[Database], _T]) -> _T:
        """Run statements in a thread; one that is not answered in time is cut off."""
        database = self._database
        assert database is not None
        cut = asyncio.get_running_loop().call_later(SESSION_S, database.sever)
        try:
            return await anyio.to_thread.run_sync(statement, database)
        finally:
            cut.cancel()

    async def _commit(self, group: Batch) -> None:
        for lost in {hold for hold, _, _ in group.entries if hold.lease.ended}:
            group.leave(lost)
        try:
            if group.entries:
                await self._answered(partial(recovery.append, group=group))
            failpoint("group_sent")
        except Fenced:
            await self._one_by_one(group)
        self._written(group)

    async def _one_by_one(self, group: Batch) -> None:
        """One quota of the group is another's: the rest is written without it."""
        for hold in {entry[0].quota: entry[0] for entry in group.entries}.values():
            part = group.of(hold)
            try:
                await self._answered(partial(recovery.append, group=part))
            except Fenced:
                hold.end(TAKEN)
            else:
                self._written(part)
                group.leave(hold)

    def _written(self, group: Batch) -> None:
        for hold, seq, _ in group.entries:
            if not hold.lease.ended:
                hold.durable = seq
        if group is self._sent:
            self._sent = None
        group.done.set()

    async def _work(self, job: Callable[[Database], Any], future: asyncio.Future[Any]) -> None:
        try:
            result = await self._answered(job)
        except (Away, Fenced, LedgerError) as error:
            if not future.done():
                future.set_exception(error)
            if isinstance(error, Away):
                raise
        else:
            if not future.done():
                future.set_result(result)

    async def _beat(self) -> None:
        """Ask whether all is ours; the answer renews the leases, from when it was asked."""
        holds = list(self._holds.values())
        sent = self.clocks.now()
        newest, locks = await self._answered(partial(recovery.seen, holds=holds))
        for hold in holds:
            hold.judge(newest.get(hold.quota), locks, sent)
            if hold.lease.ended:
                self.drop(hold)
        self._beat_at = self._clock.monotonic()
        await self._answered(self._observe)

    # A session that was lost.

    async def _lost(self) -> None:
        """Close what is left; leases run out by themselves, what was sent is in the dark."""
        database, self._database = self._database, None
        for hold in self._holds.values():
            hold.lease.void()
        if database is not None:
            self._former.add(database.pid)
            await anyio.to_thread.run_sync(database.close)

    async def _connect(self) -> None:
        """Connect, and see what became of each quota."""
        self._database = await anyio.to_thread.run_sync(
            lambda: Database(self._address, writer=True)
        )
        former, self._server = self._server, await self._answered(recovery.server_of)
        if former not in {None, self._server}:  # its numbers may be ours and mean other records
            for hold in list(self._holds.values()):
                hold.end(REPLACED)
                self.drop(hold)
        await self._recover()
        self._beat_at = -math.inf

    async def _recover(self) -> None:
        """Lock each quota again and see what is there; what is another's by now is lost."""
        holds = list(self._holds.values())
        locked = await self._lock_again({hold.lock for hold in holds})
        found = await self._answered(partial(recovery.look, holds=holds))
        for hold in holds:
            if hold.lock in locked and recovery.settle(hold, found, self._sent):
                continue
            hold.end(TAKEN)
            self.drop(hold)

    async def _lock_again(self, wanted: set[int]) -> set[int]:
        """The locks that this session has now. Our own former session may still have them: a
        connection that a gateway forgot, a backend that waits for a standby."""
        had: set[int] = set()
        until = self._clock.monotonic() + _ZOMBIE_S
        while wanted - had and self._clock.monotonic() < until:
            had |= await self._answered(partial(recovery.try_locks, locks=list(wanted - had)))
            missing = list(wanted - had)
            end = partial(recovery.end_former, locks=missing, former=self._former)
            if not missing or not await self._answered(end):
                break
            await self._clock.sleep(_AGAIN_S)
        return had

    def _end(self, why: str) -> None:
        """Nothing more comes of this session."""
        self._ended = why
        for hold in list(self._holds.values()):
            if self.failure is not None or not self._closing:  # else it may be taken up again
                hold.end(why)
        self._holds.clear()
        for group in (self._sent, self._group):
            if group is not None:
                group.done.set()
        for _, future in self._jobs:
            if not future.done():
                future.set_exception(Away(why))
        self._jobs.clear()
        if self._database is not None:
            self._database.close()
            self._database = None
