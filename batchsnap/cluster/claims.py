"""Claiming quotas: lock, read what is there, and write `claimed` as its next record.

One statement tries the locks of a batch, one snapshot reads all that was got, one statement writes
their `claimed`. The primary key decides: where somebody wrote meanwhile, that quota is left alone.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import anyio.to_thread
import orjson

from batchsnap.clock import Clock
from batchsnap.failpoints import failpoint
from batchsnap.ledger.record import Record, stamp
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import Event
from batchsnap.model import PlannedRequest
from batchsnap.postgres import schema
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import Away, Database, Fenced
from batchsnap.postgres.hold import Hold
from batchsnap.postgres.reading import LedgerRow, QuotaRow, need, quotas, reader
from batchsnap.postgres.recovery import Server, end_former, server_of, try_locks
from batchsnap.postgres.session import Session

BATCH = 10
_PLANNED = "select request from batchsnap.planned where quota = %s order by ord"
_LINES = "select seq, line from batchsnap.record where quota = %s order by seq"
_SIBLINGS = (
    "select (select r.line from batchsnap.record r where r.quota = q.id order by r.seq desc "
    "limit 1) from batchsnap.quota q where q.source = %s and q.host = %s"
)


@dataclass(slots=True)
class Share:
    """What the database has of one quota, read in one snapshot."""

    quota: QuotaRow
    fold: Fold
    requests: list[PlannedRequest] = field(repr=False)
    newest: int
    clean: bool  # whoever had the pair last gave it back, or nobody ever had it
    server: Server | None  # that of the last claim, or of the load
    read_on: Server
    lost: str  # why durable records may be missing
    retry_failed: bool


class Claimed(NamedTuple):
    """A quota that is ours."""

    hold: Hold
    part: Share


class Claims:
    """Takes free quotas of one ledger."""

    def __init__(self, address: Address, session: Session, clock: Clock) -> None:
        self._address = address
        self._session = session
        self._clock = clock

    async def take(self, wanted: Iterable[QuotaRow], most: int) -> list[Claimed]:
        """Claim some of the quotas that nobody owns.

        Raises:
            Away: the session was lost; what was claimed meanwhile is free again.
            LedgerError: they can't be read.
        """
        chosen = list(wanted)
        random.shuffle(chosen)  # or all workers would want the same
        by_lock = {schema.pair_lock(q.source, q.host): q for q in chosen[: min(most, BATCH)]}
        if not by_lock:
            return []
        database, got = await self._session.call(lambda db: (db, _locked(db, list(by_lock))))
        failpoint("claim_locked")
        claimed: list[Claimed] = []
        try:
            parts = await anyio.to_thread.run_sync(self._read, [by_lock[lock] for lock in got])
            for part in parts:
                if (one := await self._claim(database, part)) is not None:
                    claimed.append(one)
        finally:
            kept = {one.hold.lock for one in claimed}
            if rest := [lock for lock in got if lock not in kept]:
                with anyio.CancelScope(shield=True), suppress(Away):
                    await self._session.call(lambda db: db.run(schema.UNLOCKS, rest))
        return claimed

    def _read(self, wanted: list[QuotaRow]) -> list[Share]:
        """What is there of the quotas that are still to be worked on."""
        with reader(self._address, primary=True) as database, database.snapshot():
            ledger = need(database, self._address)
            now = {quota.id: quota for quota in quotas(database, ledger.id)}
            if ledger.phase != "open":
                return []
            runs = _run_records(database, now.values())
            return [
                read_part(database, ledger, now[quota.id], runs)
                for quota in wanted
                if now[quota.id].ended is None
            ]

    async def _claim(self, locked: Database, part: Share) -> Claimed | None:
        """Write its `claimed`; None where somebody else wrote, or the lock's session is gone."""
        quota = part.quota
        session = self._session

        def write(database: Database) -> tuple[str, Server]:
            if database is not locked:
                raise Fenced("the session that had the lock is gone")
            if (server := server_of(database)) != part.read_on:  # of several, one was deposed
                raise Fenced("it was read from another server")
            if other := _other_history(part.server, server):
                part.lost = part.lost or other
                part.clean = False  # whoever claimed it since is not known here
            line = orjson.dumps(self._record(part, server)).decode()
            database.run(schema.APPEND, [quota.id], [part.newest + 1], [line])
            return line, server

        hold = Hold(
            quota.id,
            schema.pair_lock(quota.source, quota.host),
            part.newest + 1,
            session.clocks,
            quota.what,
        )
        try:
            await session.call(write)
        except Fenced:
            return None
        failpoint("claim_written")
        session.adopt(hold)
        return Claimed(hold, part)

    def _record(self, part: Share, server: Server) -> dict[str, Any]:
        record = {
            "event": Event.CLAIMED,
            "at": stamp(self._clock.wall()),
            "source": part.quota.source,
            "host": part.quota.host,
            "worker": f"{socket.gethostname()}:{os.getpid()}",
            "server": server._asdict(),
        }
        return {**record, "recovered": {"lost": part.lost}} if part.lost else record


def _locked(database: Database, locks: list[int]) -> list[int]:
    """The locks that were free. What must not be held for ever is free at the next try."""
    got = try_locks(database, locks)
    end_former(database, [lock for lock in locks if lock not in got], frozenset())
    return [lock for lock in locks if lock in got]


def read_part(database: Database, ledger: LedgerRow, quota: QuotaRow, runs: list[Record]) -> Share:
    """All of one quota."""
    fold, retry_failed, lost = Fold(), False, ""
    known = ledger.header.get("server", {})
    for record in (ledger.header, *runs):
        fold.apply(record)
        retry_failed = record.get("retry_failed", False)
    newest = 0
    for seq, line in database.run(_LINES, quota.id):
        newest = seq
        record = orjson.loads(line)
        fold.apply(record)
        if record["event"] == Event.CLAIMED:
            known = record.get("server", known)
            lost = lost or record.get("recovered", {}).get("lost", "")
    requests = [schema.request_of(text) for (text,) in database.run(_PLANNED, quota.id)]
    last = [line for (line,) in database.run(_SIBLINGS, quota.source, quota.host)]
    clean = all(line is None or orjson.loads(line)["event"] == Event.RELEASED for line in last)
    server = Server(**known) if known else None
    read_on = server_of(database)
    return Share(quota, fold, requests, newest, clean, server, read_on, lost, retry_failed)


def _run_records(database: Database, rows: Iterable[QuotaRow]) -> list[Record]:
    """The records of the run itself."""
    own = next(quota.id for quota in rows if not quota.source)
    return [orjson.loads(line) for _, line in database.run(_LINES, own)]


def _other_history(then: Server | None, now: Server) -> str:
    if then is None or then == now:
        return ""
    if then.system != now.system:
        return "the database was restored into another cluster"
    return "the database's server was replaced (a failover or a restore) since the last claim"
