"""Reading ledgers of a database, without a lock: the list, the records of one, its owners.

Records of a ledger are told in the order of their times, each quota's in its own order; the time
that orders them is the latest so far in the quota, for a wall clock may be set back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from batchsnap.errors import LedgerError
from batchsnap.ledger.record import Record
from batchsnap.postgres import schema
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import Away, Database

_LEDGER = "select id, header, phase, reason from batchsnap.ledger where name = %s"
_MERGED = (
    "copy (select r.quota, r.seq, r.line from batchsnap.record r "
    "join batchsnap.quota q on q.id = r.quota where q.ledger = {ledger} order by "
    "max(r.line::json ->> 'at') over (partition by r.quota order by r.seq), r.quota, r.seq) "
    "to stdout"
)
_SINCE = (
    "select r.quota, r.seq, r.line from unnest(%s::integer[], %s::bigint[]) k (id, seen) "
    "join batchsnap.record r on r.quota = k.id and r.seq > k.seen order by r.quota, r.seq "
    "limit 20000"
)
_LIST = (
    "select l.name, l.phase, l.header, (select sum(rows) from batchsnap.quota q "
    "where q.ledger = l.id), (select count(*) from batchsnap.quota q where q.ledger = l.id "
    "and q.source <> '') from batchsnap.ledger l order by l.id"
)
_QUOTAS = (
    "select id, source, host, profiles, rows, failed, ended from batchsnap.quota where ledger = %s "
    "order by source, host"
)

_OWNED = (
    "select q.id, (select r.line from batchsnap.record r where r.quota = q.id and "
    "r.line::json ->> 'event' = 'claimed' order by r.seq desc limit 1), "
    "(select count(*) from batchsnap.record r where r.quota = q.id and "
    "r.line::json ->> 'event' = 'accepted'), "
    "(select count(*) from batchsnap.record r where r.quota = q.id and "
    "r.line::json ->> 'event' = 'accepted' and "
    "(r.line::json ->> 'at')::timestamptz > now() - interval '15 seconds') "
    "from batchsnap.quota q where q.ledger = %s"
)
_RECENT_S = 15.0


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A ledger's own row."""

    id: int
    header: Record
    phase: str
    reason: str


@dataclass(frozen=True, slots=True)
class QuotaRow:
    """A quota's own row."""

    id: int
    source: str
    host: str
    profiles: str  # a JSON list: whose rows these are
    rows: int
    failed: int
    ended: str | None

    @property
    def what(self) -> str:
        """For people."""
        return f"{self.source} at {self.host}"


@contextmanager
def reader(address: Address, *, primary: bool = False) -> Iterator[Database]:
    """A connection for the block; `primary`: not to a standby, which lags behind.

    Raises:
        LedgerError: the database is out of reach, or no statement is answered.
    """
    database = None
    try:
        database = Database(address, primary=primary)
        yield database
    except Away as away:
        raise LedgerError(f"can't read {address.label}: {away}") from None
    finally:
        if database is not None:
            database.close()


def find(database: Database, name: str) -> LedgerRow | None:
    """The ledger of that name; None where there is none."""
    if database.one("select to_regclass('batchsnap.ledger')")[0] is None:
        raise LedgerError(
            "the database holds no ledgers yet: batchsnap ledger init URL, once, by its owner"
        )
    for number, header, phase, reason in database.run(_LEDGER, name):
        return LedgerRow(number, orjson.loads(header), phase, reason)
    return None


def need(database: Database, address: Address) -> LedgerRow:
    """The ledger that the address names.

    Raises:
        LedgerError: there is none.
    """
    ledger = find(database, address.ledger)
    if ledger is None:
        raise LedgerError(
            f"there is no ledger {address.ledger} in {address.database}: `batchsnap ledger list` "
            "names those that are there"
        )
    return ledger


def quotas(database: Database, ledger: int) -> list[QuotaRow]:
    """The quotas of a ledger; ('', '') is that of the run itself."""
    return [QuotaRow(*row) for row in database.run(_QUOTAS, ledger)]


def listed(database: Database) -> list[tuple[Any, ...]]:
    """(name, phase, header, rows, quotas) of every ledger."""
    return database.run(_LIST)


def records(address: Address) -> Iterator[Record]:
    """The records of a ledger from its header on, as they are now.

    Raises:
        LedgerError: there is none, or it can't be read.
    """
    with reader(address) as database:
        ledger = need(database, address)
        yield ledger.header
        for _, _, line in database.copy_out(_MERGED.format(ledger=ledger.id)):
            yield orjson.loads(line)


class Owner(NamedTuple):
    """Who works on a quota, and how far it is."""

    quota: QuotaRow
    worker: str  # "" where nobody does
    since: str
    left: int  # rows
    rate_per_s: float  # lately

    def __str__(self) -> str:
        if self.quota.ended:
            return f"  {self.quota.what}: {self.quota.ended.replace('_', ' ')}"
        who = f"{self.worker} since {self.since}" if self.worker else "nobody works on it"
        return f"  {self.quota.what}: {who}, {self.rate_per_s:.1f}/s, {self.left:,} left"


def owners(address: Address) -> list[Owner]:
    """A line a quota. Whoever holds its lock is the one whose `claimed` is its newest.

    Raises:
        LedgerError: there is no such ledger, or it can't be read.
    """
    with reader(address) as database:
        ledger = need(database, address)
        held = {number for (number,) in database.run(schema.HELD)}
        told = {quota: rest for quota, *rest in database.run(_OWNED, ledger.id)}
        found = []
        for quota in quotas(database, ledger.id):
            line, made, lately = told[quota.id]
            if not quota.source or line is None:
                line = "{}"
            owned = schema.pair_lock(quota.source, quota.host) in held
            claimed = orjson.loads(line) if owned else {}
            left = max(0, quota.rows - made - quota.failed)
            found.append(
                Owner(
                    quota,
                    claimed.get("worker", ""),
                    claimed.get("at", ""),
                    left,
                    lately / _RECENT_S,
                )
            )
    return [owner for owner in found if owner.quota.source]


class DatabaseFollower:
    """Reads on where it stopped, over a connection of its own."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._database: Database | None = None
        self._seen: dict[int, int] = {}
        self._begun = False

    def more(self) -> list[Record]:
        """Records since the last call, not necessarily all.

        Raises:
            LedgerError: they can't be read.
        """
        try:
            return self._more()
        except Away as away:
            self.close()
            raise LedgerError(f"can't read {self._address.label}: {away}") from None

    def _more(self) -> list[Record]:
        if self._database is None:
            self._database = Database(self._address)
        found: list[Record] = []
        ledger = need(self._database, self._address)
        if not self._begun:
            self._begun = True
            found.append(ledger.header)
        for quota in quotas(self._database, ledger.id):
            self._seen.setdefault(quota.id, 0)
        rows = self._database.run(_SINCE, list(self._seen), list(self._seen.values()))
        for quota_id, seq, line in rows:
            self._seen[quota_id] = seq
            found.append(orjson.loads(line))
        return found

    def close(self) -> None:
        if self._database is not None:
            with suppress(Away):
                self._database.close()
            self._database = None
