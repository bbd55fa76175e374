"""A whole ledger taken up by one process: to settle, to wait, to roll back.

That needs every quota at once: all locks are tried, and where one is held nothing is taken. Then
`claimed` is written in each, so that whoever thought to own one can make nothing durable any more,
and the run is stopped, so that nobody claims. A session is kept only while there is work; the next
one goes on only where each quota is as it was left.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anyio
import orjson

from batchsnap.clock import LoopClock
from batchsnap.cloud.endpoints import endpoint_url, host_of
from batchsnap.errors import LedgerError, LedgerLocked
from batchsnap.ledger.record import Record, stamp
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import Event
from batchsnap.postgres import schema
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import Away, Database, Fenced
from batchsnap.postgres.hold import Hold
from batchsnap.postgres.lease import Leases, grace_s
from batchsnap.postgres.reading import (
    LedgerRow,
    QuotaRow,
    held_locks,
    need,
    quotas,
    reader,
    records,
)
from batchsnap.postgres.recovery import (
    Server,
    given_back,
    newest_of,
    other_history,
    server_of,
    try_locks,
)
from batchsnap.postgres.session import Session
from batchsnap.postgres.sink import SessionSink
from batchsnap.settings import Settings

_HOLD = f"update batchsnap.ledger set phase = 'stopped' where id = %s and {schema.IS_AT_WORK}"  # noqa: S608
_AWAKE_S = 1.0
_CLAIMED = (
    "select q.id, (select r.line from batchsnap.record r where r.quota = q.id and "
    """r.line like '{"event":"claimed"%%' order by r.seq desc limit 1) """
    "from batchsnap.quota q where q.id = any(%s)"
)


class WholeSink(SessionSink):
    """A RecordSink that writes to every quota of a ledger."""

    def __init__(self, address: Address, ledger: LedgerRow, rows: list[QuotaRow]) -> None:
        super().__init__(address.label, Fold())
        self._address = address
        self._ledger = ledger
        self._rows = {row.id: row for row in rows}
        self._own = next(row.id for row in rows if not row.source)
        self.holds: dict[int, Hold] = {}
        self._places: dict[tuple[str, str], int] = {}  # by profile and region
        self._clock = LoopClock()
        self._server: Server | None = None
        self._session = self._new_session()

    @classmethod
    def open(cls, address: Address) -> WholeSink:
        """Take the ledger.

        Raises:
            LedgerLocked: another process owns a part of it. LedgerError: it can't be read.
        """
        database = None
        try:
            database = Database(address, writer=True)
            ledger = need(database, address)
            sink = cls(address, ledger, quotas(database, ledger.id))
            sink._take(database)
        except (Away, Fenced) as away:
            raise LedgerError(f"can't take up {address.label}: {away}") from None
        finally:
            if database is not None:
                database.close()
        return sink

    @classmethod
    def read(cls, address: Address) -> WholeSink:
        """All that the ledger knows, and nothing is taken: nothing can be written through it.

        Raises:
            LedgerError: it is not there, or can't be read.
        """
        with reader(address, primary=True) as database:
            ledger = need(database, address)
            sink = cls(address, ledger, quotas(database, ledger.id))
            sink._read(database)
        sink._ended("it was only read")
        return sink

    def _take(self, database: Database) -> None:
        locks = {self._lock(row): row for row in self._rows.values()}
        if set(locks) - try_locks(database, list(locks)):
            first = f"other processes work on {self.label}: `batchsnap stop` it first"
            raise LedgerLocked("\n".join((first, *_living(self._address))))
        database.run(_HOLD, self._ledger.id)
        newest = newest_of(database, self._rows)  # whatever is written after it is in our way
        clean = given_back(database, [row for row in self._rows.values() if row.source])
        known = self._read(database)
        self._server = server_of(database)
        self._session = self._new_session()
        if other := other_history(known, self._server):
            clean, self.lost = False, self.lost or other
        at = {quota: (newest.get(quota) or 0) + 1 for quota in self._rows}
        self._append_all(database, at, Event.CLAIMED)
        for quota, seq in at.items():
            row = self._rows[quota]
            what = row.what if row.source else "the run"
            self.holds[quota] = hold = Hold(quota, self._lock(row), seq, self._clocks, what)
            hold.on_end = self._ended
        self.right = Leases(hold.lease for hold in self.holds.values())
        if not clean:  # a former owner may still be sending
            time.sleep(grace_s(Settings().merged(self.fold.settings).rate_per_s))

    def _read(self, database: Database) -> Server | None:
        """Fold all records, while the session that has the locks is kept awake; which server the
        latest claim was made on."""
        asked = time.monotonic()
        known: dict[str, str] = {}
        for record in records(self._address, primary=True):
            self.fold.apply(record)
            self.lost = self.lost or record.get("recovered", {}).get("lost", "")
            known = record.get("server", known)
            if time.monotonic() - asked > _AWAKE_S:
                database.run("select 1")
                asked = time.monotonic()
        return Server(**known) if known else None

    @property
    def _clocks(self) -> Any:
        return self._session.clocks

    def _lock(self, row: QuotaRow) -> int:
        if not row.source:
            return schema.run_lock(self._address.ledger)
        return row.lock

    def _append_all(self, database: Database, at: dict[int, int], event: Event) -> None:
        lines = []
        for quota in at:
            row = self._rows[quota]
            record = {
                "event": event,
                "at": stamp(self._clock.wall()),
                "source": row.source,
                "host": row.host,
                "worker": f"{socket.gethostname()}:{os.getpid()}",
            }
            lines.append(orjson.dumps(record).decode())
        database.run(schema.APPEND, list(at), list(at.values()), lines)

    def _new_session(self) -> Session:
        return Session(
            self._address, self._clock, lambda _: None, patience_s=60.0, server=self._server
        )

    def quota_at(self, profile: str, region: str) -> int:
        """The quota of such rows. Raises LedgerError where that can't be told."""
        scope = profile, region
        if scope not in self._places:
            self._places[scope] = self._of(profile, region)
        return self._places[scope]

    def _of(self, profile: str, region: str) -> int:
        host = host_of(endpoint_url(self.fold.header["endpoint"], region))
        at_host = [row for row in self._rows.values() if row.host == host]
        found = [row.id for row in at_host if profile in row.profile_names]
        if len(found) == 1:
            return found[0]
        raise LedgerError(
            f"{self.label} has rows of profile {profile or 'of the default chain'} at {host} under "
            f"{len(found)} different keys: only a `run` can go on with it"
        )

    def _place(self, record: Record) -> tuple[Session, Hold]:
        """Its row's quota, or the run's own."""
        own = "key" not in record
        at = self._own if own else self.quota_at(record["profile"] or "", record["region"] or "")
        return self._session, self.holds[at]

    def records(self) -> Iterator[Record]:
        return records(self._address, primary=True)

    async def commit(self) -> None:
        """Hold a session until `close`, and write what is appended."""
        for hold in self.holds.values():
            hold.lease.void()  # what another session proved is no proof for this one
            self._session.adopt(hold)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._session.run)
            await self._closed.wait()
            self._session.close()
        if self._session.failure is not None:
            self._ended(str(self._session.failure))
        self._session, self._closed = self._new_session(), anyio.Event()

    def release(self) -> None:
        """Write `released` where all is as it was left; the run stays stopped, or finished."""
        if self.failure is not None:
            return
        with suppress(Away, Fenced, LedgerError):
            database = Database(self._address, writer=True)
            try:
                self.give_back(database)
            finally:
                database.close()

    def give_back(self, database: Database) -> None:
        """Write `released` in each quota; nothing is appended after it.

        Raises:
            Away, Fenced: it is not as it was left, or not known.
        """
        at = {quota: hold.durable + 1 for quota, hold in self.holds.items()}
        self._append_all(database, at, Event.RELEASED)
        self._ended("it was given back")


def _living(address: Address) -> list[str]:
    """A line a quota that a living process owns: whose `claimed` is its newest.

    Raises:
        LedgerError: there is no such ledger, or it can't be read.
    """
    with reader(address) as database:
        rows, held = quotas(database, need(database, address).id), held_locks(database)
        owned = {row.id: row for row in rows if row.source and row.lock in held}
        told = []
        for quota, line in database.run(_CLAIMED, list(owned)):
            record = orjson.loads(line or "{}")
            since = f" since {record['at']}" if record else ""
            told.append(f"  {owned[quota].what}: {record.get('worker', 'a process')}{since}")
        return told
