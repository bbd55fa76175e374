"""One process's ownership of one quota, from `claimed` to `released`: the unchanged engine runs in
between, over the quota's part of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import orjson

from batchsnap.client.account import Reach
from batchsnap.client.connections import Connections, LeasedGates, LocalGates
from batchsnap.client.ports import CredentialSource, Say
from batchsnap.client.stopping import Stop
from batchsnap.clock import Clock
from batchsnap.cloud.transport import Transport
from batchsnap.cluster.canary import Canary
from batchsnap.cluster.claims import Claimed
from batchsnap.cluster.share import records_of
from batchsnap.engine.executor import LocalExecutor, Work
from batchsnap.errors import Exit, LedgerError, first_of_ours
from batchsnap.failpoints import failpoint
from batchsnap.ledger.record import Record, stamp
from batchsnap.lifecycle import Event, State
from batchsnap.pacing.gate import FIRST_WAIT_S
from batchsnap.pacing.quota_file import state_folder
from batchsnap.postgres import schema
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import Away, Database, Fenced
from batchsnap.postgres.lease import grace_s
from batchsnap.postgres.reading import reader, records
from batchsnap.postgres.session import Session
from batchsnap.postgres.sink import QuotaSink

_END = "update batchsnap.quota set ended = %s where id = %s and ended is null"


@dataclass(frozen=True, slots=True)
class Shared:
    """What all tenures of a process share."""

    session: Session
    transport: Transport
    credentials: CredentialSource
    clock: Clock
    say: Say
    address: Address
    reach: Reach  # for questions before a claim
    run_waits: Callable[[], bool]  # until all snapshots are ready
    taps: Sequence[Callable[[Record], None]]  # each sees every record that is written


class Tenure:
    """Run it once; `stop` drains it."""

    def __init__(self, world: Shared, claimed: Claimed, canary: Canary | None = None) -> None:
        """`canary`: only some rows are to be made, and it hears of them."""
        self.hold, self.share = claimed
        self._canary = canary
        self._waits = self.share.wait or canary is not None
        self.stop = Stop()
        self.ended: str | None = None  # 'done', 'halted', 'gave_up'; None: to be claimed again
        self._drained = False
        self._world = world
        self._sink = QuotaSink(
            world.session,
            self.hold,
            self.share.fold,
            label=world.address.label,
            lost=self.share.lost,
            records=partial(_records, world.address, self.hold.quota),
        )
        self._sink.taps.extend(world.taps)
        if canary is not None:
            self._sink.taps.append(canary.heard)

    async def run(self) -> None:
        """Work until all is done, stopped, halted or lost, and give the quota back."""
        world = self._world
        self._sink_watch()
        try:
            if await self._may_begin():
                halted = await self._execute()
                self.ended = self._end(halted=halted) if self._sink.failure is None else None
        except* LedgerError as group:  # lost; or what the engine asked of it, it could not be told
            world.say(str(first_of_ours(group)))
        finally:
            self.share.close()
        if self._canary is not None and self._sink.failure is None:
            self._canary.ended(self.ended)
            self.ended = None  # there is more to do
        await self._give_back()

    @property
    def words(self) -> dict[str, int]:
        """The quota's rows by the word for where they stand; `pending` are those of its own."""
        words = self.share.fold.words
        begun = words[State.DEFERRED] + words[State.IN_DOUBT]
        return {**words, State.PENDING: max(0, self.share.remaining.rows - begun)}

    def drain(self, code: Exit, reason: str) -> None:
        """Come to an end: somebody stopped this process, or the run."""
        self._drained = True
        self.stop.request(code, reason)

    def _sink_watch(self) -> None:
        """Once the quota is lost, what waits is told to stop."""
        mark = self.hold.on_end

        def lost(why: str) -> None:
            mark(why)
            self.stop.request(Exit.UNFINISHED, why)

        self.hold.on_end = lost
        if self.hold.lease.ended:
            lost(self.hold.lease.ended)

    async def _may_begin(self) -> bool:
        """The first lease, and after a tenure that was not given back its grace: what the former
        owner may still send lies more than a window back then."""
        if not await self.hold.lease.held():
            return False
        if not self.share.clean:
            with self.stop.ends():
                await self._world.clock.sleep(grace_s(self.share.settings.rate_per_s))
        return not self.stop.stopping

    async def _execute(self) -> bool:
        """The engine's part; whether something was halted."""
        world, share = self._world, self.share
        work = Work(
            ledger=self._sink,
            queues=list(share.intake.queues.values()),
            settings=share.settings,
            waits=share.waits,
            endpoint=share.endpoint,
            ask_first=self._sink.gap,
            rows=share.quota.rows,
            wait=self._waits,
            whole=partial(records, world.address, primary=True),
        )
        gates = LocalGates(
            share.settings,
            world.clock,
            state_folder(),
            self.stop,
            world.say,
            first_wait_s=FIRST_WAIT_S if share.clean else 0.0,  # the grace was longer
        )
        try:
            connections = Connections(
                world.transport,
                LeasedGates(gates, self.hold.lease),
                share.settings,
                world.clock,
                world.credentials,
                follows=share.fold.unsettled > 0,
            )
            halts = await LocalExecutor(world.clock, connections, world.say).execute(
                work, self.stop
            )
        finally:
            gates.close()
        return halts.any

    def _end(self, *, halted: bool) -> str | None:
        """How the quota's part of the run ended."""
        fold = self.share.fold
        awaited = fold.counts[State.ACCEPTED] if self._waits or self._world.run_waits() else 0
        if not self.share.remaining.rows and not fold.owed:
            if not awaited:
                return "done"
            if not self._waits:
                return None  # it is to wait since it was claimed: once more, so
        if halted:
            return "halted"
        return None if self._drained else "gave_up"

    async def _give_back(self) -> None:
        """Write `released` as the last record, say how it ended, and let the lock go."""
        world, hold = self._world, self.hold
        if hold.lease.ended:  # lost; a lock that is left would keep all others out
            world.session.drop(hold)
            with suppress(Away):
                await world.session.call(lambda db: db.run(schema.UNLOCKS, [hold.lock]))
            return
        hold.lease.end("given back")
        world.session.drop(hold)
        record = {
            "event": Event.RELEASED,
            "at": stamp(world.clock.wall()),
            "source": self.share.quota.source,
            "host": self.share.quota.host,
            "ended": self.ended,
        }
        line = orjson.dumps(record).decode()

        def give(database: Database) -> None:
            with database.transaction():
                database.run(schema.APPEND, [hold.quota], [hold.durable + 1], [line])
                if self.ended is not None:
                    database.run(_END, self.ended, hold.quota)
            database.run(schema.UNLOCKS, [hold.lock])

        with suppress(Away, Fenced):  # then the next owner waits its grace and finds no work
            await world.session.call(give)
        failpoint("released")


def _records(address: Address, quota: int) -> Iterator[Record]:
    """Those of one quota."""
    with reader(address, primary=True) as database, database.snapshot():
        for _, record in records_of(database, quota):
            yield record
