"""A dispatcher for each quota of its work, over the connections and gates that it is handed."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import anyio

from batchsnap.client.account import Reach
from batchsnap.client.connections import Connections
from batchsnap.client.ports import Say
from batchsnap.client.stopping import Stop
from batchsnap.clock import Clock
from batchsnap.cloud.endpoints import endpoint_url
from batchsnap.engine.dispatcher import Dispatcher
from batchsnap.engine.halts import Halts
from batchsnap.engine.limits import Limits
from batchsnap.engine.queue import Queue
from batchsnap.ledger.gap import Gap
from batchsnap.ledger.ports import RecordSink
from batchsnap.ledger.record import Record
from batchsnap.lifecycle import Event, State
from batchsnap.model import RegionKey
from batchsnap.settings import Settings, Waits
from batchsnap.settling.makers import maker_of
from batchsnap.settling.row import RunContext
from batchsnap.settling.snapshots import Pile, Snapshot, accepted_in, piled, snapshot_of


@dataclass(slots=True)
class Work:
    """What an executor is handed."""

    ledger: RecordSink
    queues: list[Queue]
    settings: Settings
    waits: Waits
    endpoint: str  # may hold {region}
    ask_first: Gap
    rows: int = 0  # of the manifest
    send: bool = True  # False: settle only
    wait: bool = False  # until every accepted snapshot is ready
    whole: Callable[[], Iterator[Record]] | None = None  # all records, where `ledger` is a part


class LocalExecutor:
    """Runs work in this process. Several may run at once over the same connections, each its own
    quotas and its own ledger."""

    def __init__(self, clock: Clock, connections: Connections, say: Say) -> None:
        self._clock = clock
        self._connections = connections
        self._say = say

    async def execute(self, work: Work, stop: Stop) -> Halts:
        """Do the work until all is done, stopped or halted; tells what was halted.

        Raises:
            LedgerUnwritable: nothing was sent after it.
        """
        ledger, halts = work.ledger, Halts(self._say)
        connections = self._connections
        context = new_context(
            ledger,
            self._clock,
            stop,
            work.settings,
            work.waits,
            say=self._say,
            reach=connections.reach(work.endpoint),
        )
        limits = Limits(_braking(work), ledger.fold, work.rows, stop, self._say)
        watching = work.wait or limits.watching
        earlier = _accepted_earlier(ledger) if watching else {}
        by_quota = _by_quota(work, earlier)
        dispatchers = {
            (profile, url): Dispatcher(
                connections.account(profile, url),
                queues,
                context,
                halts=halts,
                limits=limits,
                claimed=partial(_claimed, work.whole or ledger.records),
                intents=partial(_intents, ledger),
                ask_first=work.ask_first,
                send=work.send,
                wait=work.wait,
            )
            for (profile, url), queues in by_quota.items()
        }

        def watch(record: Record) -> None:
            if record["event"] == Event.ACCEPTED:
                snapshot = snapshot_of(record)
                dispatchers[_quota_of(work, snapshot)].watch(snapshot)

        for pile in earlier.values():
            dispatchers[_quota_of(work, pile)].watch(pile)
        if limits.counting:
            ledger.taps.append(limits.heard)
        if watching:
            ledger.taps.append(watch)
        async with committing(ledger), anyio.create_task_group() as tasks:
            for quota, dispatcher in dispatchers.items():
                if work.send and by_quota[quota]:
                    tasks.start_soon(connections.warm, dispatcher.account, context.maker.action)
                tasks.start_soon(dispatcher.run)
        return halts


def new_context(
    ledger: RecordSink,
    clock: Clock,
    stop: Stop,
    settings: Settings,
    waits: Waits,
    *,
    say: Say,
    reach: Reach,
) -> RunContext:
    """What every attempt shares."""
    rng = random.Random()  # noqa: S311 - spreads retries, guards nothing
    maker = maker_of(ledger.fold.header, reach)
    return RunContext(ledger, clock, stop, settings, waits, rng, say, maker)


@asynccontextmanager
async def committing(ledger: RecordSink) -> AsyncIterator[None]:
    """The ledger commits while the block runs, and what is appended in it is on disk after it.

    Raises:
        LedgerUnwritable: it is not, though nobody waited for it.
    """
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledger.commit)
        try:
            yield
        finally:
            ledger.close()
    if ledger.failure is not None:
        raise ledger.failure


def _braking(work: Work) -> Settings:
    """What sends nothing is not braked."""
    return work.settings if work.send else work.settings.unbraked()


def _quota_of(work: Work, of: Queue | Snapshot | Pile) -> tuple[str, str]:
    return of.profile, endpoint_url(work.endpoint, of.region)


def _by_quota(work: Work, earlier: dict[RegionKey, Pile]) -> dict[tuple[str, str], list[Queue]]:
    """Queues that share a credential and a host share a dispatcher; one that has none may have
    snapshots to await."""
    dispatchers: dict[tuple[str, str], list[Queue]] = {}
    for queue in work.queues:
        dispatchers.setdefault(_quota_of(work, queue), []).append(queue)
    for pile in earlier.values():
        dispatchers.setdefault(_quota_of(work, pile), [])
    return dispatchers


def _accepted_earlier(ledger: RecordSink) -> dict[RegionKey, Pile]:
    """The snapshots that earlier processes were given and did not see ready."""
    standing = ledger.fold.standing
    accepted = frozenset({State.ACCEPTED})
    if not ledger.fold.counts[State.ACCEPTED]:
        return {}
    return piled(accepted_in(ledger.records(), lambda key: standing(key).state, accepted))


def _claimed(records: Callable[[], Iterator[Record]], disk_id: str) -> set[str]:
    """Snapshot ids that rows on a disk were given; rare, so all is simply read."""
    return {
        record["snapshot_id"]
        for record in records()
        if record["event"] == Event.ACCEPTED and record["disk_id"] == disk_id
    }


def _intents(ledger: RecordSink, keys: Set[str]) -> dict[str, Record]:
    """The latest intents of rows, also of those that are at rest; as rare."""
    return {
        record["key"]: record
        for record in ledger.records()
        if record["event"] == Event.INTENT and record["key"] in keys
    }
