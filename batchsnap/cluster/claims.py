"""Claiming quotas: lock, read what is there, and write `claimed` as its next record.

One statement tries the locks of a batch, one snapshot reads all that was got, one statement writes
their `claimed`. The primary key decides: where somebody wrote meanwhile, that quota is left alone.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import anyio.to_thread
import orjson

from batchsnap.clock import Clock
from batchsnap.cluster.share import Choose, Share, read_share, records_of
from batchsnap.failpoints import failpoint
from batchsnap.ledger.record import stamp
from batchsnap.lifecycle import Event
from batchsnap.postgres import schema
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import Away, Database, Fenced
from batchsnap.postgres.hold import Hold
from batchsnap.postgres.reading import QuotaRow, need, quotas, reader
from batchsnap.postgres.recovery import Server, newest_of, other_history, server_of, try_locks
from batchsnap.postgres.session import Session
from batchsnap.settings import Waits

BATCH = 10
ORPHAN_S = 10.0  # unowned for so long, a quota is taken above the bound
RECORDS = 100_000
"""So many records are read for a claim at most, so that what is claimed first does not wait for
what is read last. One quota may have more."""


Admit = Callable[[list[Share]], Awaitable[list[Share]]]
"""Those of some quotas, whose locks we have, that this machine can work on."""


class Claimed(NamedTuple):
    """A quota that is ours."""

    hold: Hold
    share: Share


@dataclass(slots=True)
class Facts:
    """What the latest heartbeat saw of the ledger."""

    phase: str = "open"
    reason: str = ""
    wait: bool = False  # until all snapshots are ready
    server_up_s: float = 0.0
    begun: bool = True  # somebody has owned a part of it, and may come back for it
    quotas: tuple[QuotaRow, ...] = ()
    held: Set[int] = frozenset()  # locks, whoever has them
    seen: bool = False

    @property
    def open(self) -> list[QuotaRow]:
        """Those that nobody has brought to an end."""
        return [quota for quota in self.quotas if quota.source and quota.ended is None]


class Free:
    """Which quotas nobody owns, by what heartbeats see, and since when."""

    def __init__(self) -> None:
        self._since: dict[QuotaRow, float] = {}

    def of(self, others: Iterable[QuotaRow], held: Set[int], now: float) -> list[QuotaRow]:
        """Those of some quotas whose locks nobody holds."""
        free = [quota for quota in others if quota.lock not in held]
        since = {quota.id: then for quota, then in self._since.items()}
        self._since = {quota: since.get(quota.id, now) for quota in free}
        return free

    def orphans(self, now: float) -> list[QuotaRow]:
        """Those that have been free for so long that somebody must have them."""
        return [quota for quota, since in self._since.items() if now - since >= ORPHAN_S]


class Claims:
    """Takes free quotas of one ledger."""

    def __init__(self, address: Address, session: Session, clock: Clock, waits: Waits) -> None:
        self._address = address
        self._waits = waits
        self._session = session
        self._clock = clock

    async def take(
        self, free: Iterable[QuotaRow], most: int, admit: Admit, choose: Choose | None = None
    ) -> list[Claimed]:
        """Claim some of the quotas that nobody owns, of those that are for this machine; with
        `choose`, which is the canary's, of their rows only the chosen ones.

        Raises:
            Away: the session was lost; what was claimed meanwhile is free again.
            LedgerError: they can't be read.
        """
        chosen = list(free)
        random.shuffle(chosen)  # or all workers would want the same
        by_lock = {quota.lock: quota for quota in chosen}
        if not by_lock or most < 1:
            return []
        lock = partial(_locked, wanted=by_lock, most=min(most, BATCH))
        database, got = await self._session.call(lambda db: (db, lock(db)))
        failpoint("claim_locked")
        claimed: list[Claimed] = []
        shares: list[Share] = []
        try:
            read = partial(self._read, [by_lock[lock] for lock in got], choose)
            shares = await anyio.to_thread.run_sync(read)
            if fit := await admit(shares):
                await self._claim(database, fit, claimed)
        except BaseException:  # nobody will work on those that are ours
            for one in claimed:
                self._session.drop(one.hold)
            claimed.clear()
            raise
        finally:
            ours = {id(one.share) for one in claimed}
            for share in shares:
                if id(share) not in ours:
                    share.close()
            kept = {one.hold.lock for one in claimed}
            if rest := [lock for lock in got if lock not in kept]:
                with anyio.CancelScope(shield=True), suppress(Away):
                    await self._session.call(lambda db: db.run(schema.UNLOCKS, rest))
        return claimed

    def _read(self, wanted: list[QuotaRow], choose: Choose | None) -> list[Share]:
        """What is there of the quotas that are still to be worked on."""
        with reader(self._address, primary=True) as database, database.snapshot():
            ledger = need(database, self._address)
            now = {quota.id: quota for quota in quotas(database, ledger.id)}
            if ledger.phase != ("open" if choose is None else "canary"):
                return []
            own = next(quota for quota, row in now.items() if not row.source)
            told = [ledger.header, *(record for _, record in records_of(database, own))]
            wanted = [quota for quota in wanted if now[quota.id].ended is None]
            shares = [read_share(database, q, told, self._waits, choose) for q in wanted]
        for share in shares:
            share.wait = ledger.wait
        return shares

    async def _claim(self, locked: Database, shares: list[Share], claimed: list[Claimed]) -> None:
        """Write their `claimed` together, and tell which are ours; one by one where somebody wrote
        to one meanwhile, which is left alone then."""
        try:
            await self._write(locked, shares)
        except Fenced:
            if len(shares) > 1:
                for share in shares:
                    await self._claim(locked, [share], claimed)
            return
        for share in shares:
            quota = share.quota
            hold = Hold(quota.id, quota.lock, share.newest + 1, self._session.clocks, quota.what)
            self._session.adopt(hold)
            claimed.append(Claimed(hold, share))
        failpoint("claim_written")

    async def _write(self, locked: Database, shares: list[Share]) -> None:
        """One statement for all `claimed`; raises Fenced where one of them can't be written."""

        def write(database: Database) -> None:
            if database is not locked:
                raise Fenced("the session that had the lock is gone")
            server = server_of(database)
            lines = []
            for share in shares:
                if server != share.read_on:  # of several, one was deposed
                    raise Fenced("it was read from another server")
                if other := other_history(share.server, server):
                    share.lost = share.lost or other
                    share.clean = False  # whoever claimed it since is not known here
                lines.append(orjson.dumps(self._record(share, server)).decode())
            ids = [share.quota.id for share in shares]
            database.run(schema.APPEND, ids, [share.newest + 1 for share in shares], lines)

        await self._session.call(write)

    def _record(self, share: Share, server: Server) -> dict[str, Any]:
        record = {
            "event": Event.CLAIMED,
            "at": stamp(self._clock.wall()),
            "source": share.quota.source,
            "host": share.quota.host,
            "worker": f"{socket.gethostname()}:{os.getpid()}",
            "profiles": share.quota.profile_names,
            "rows": share.quota.rows,
            "server": server._asdict(),
        }
        return {**record, "recovered": {"lost": share.lost}} if share.lost else record


def _locked(database: Database, wanted: Mapping[int, QuotaRow], most: int) -> list[int]:
    """The first locks that were free, of so many quotas as may be read at once: others want the
    same ones at the same moment."""
    left, got, records = list(wanted.items()), list[int](), 0
    while left and len(got) < most:
        tried, left = left[: most - len(got)], left[most - len(got) :]
        sizes = newest_of(database, [quota.id for _, quota in tried])
        locks: list[int] = []
        for lock, quota in tried:
            records += sizes.get(quota.id, 0)
            if records > RECORDS and (got or locks):
                left = []
                break
            locks.append(lock)
        free = try_locks(database, locks)
        got += [lock for lock in locks if lock in free]
    return got
