"""Reading ledgers of a database, without a lock: the list, the records of one, its owners.

Records of a ledger are told in the order of their times, each quota's in its own order; the time
that orders them is the latest so far in the quota, for a wall clock may be set back.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import Any

import orjson

from batchsnap.errors import LedgerAway, LedgerError
from batchsnap.ledger.ports import Owned, name_of
from batchsnap.ledger.record import Record
from batchsnap.postgres import schema
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import Away, Database

_LEDGER = "select id, header, phase, reason, wait from batchsnap.ledger where name = %s"
_NEXT = (
    "select k.id, n.* from unnest(%s::integer[], %s::bigint[]) k (id, seen) cross join lateral "
    "(select max(r.seq), count(*), string_agg(r.line, E'\\n' order by r.seq) from "
    "(select seq, line from batchsnap.record where quota = k.id and seq > k.seen "
    "order by seq limit %s) r) n (seq, number, lines) where n.number > 0"
)
_AHEAD = 4096  # so many records are read ahead at a time, of all quotas together
_AHEAD_LEAST = 32
_LIST = (
    "select l.name, l.phase, l.header, sum(q.rows), count(*) filter (where q.source <> '') "
    "from batchsnap.ledger l join batchsnap.quota q on q.ledger = l.id group by l.id order by l.id"
)
QUOTAS = (
    "select id, source, host, profiles, rows, failed, ended from batchsnap.quota where ledger = %s "
    "order by source, host"
)
_NEVER = "~"  # after every time
_AT_ONCE = 64  # lines are parsed, so that their records are looked at while they are at hand
_AT = '"at":"'  # within a string the quotes would be escaped
_STAMP = len("2026-11-26T00:00:00.000Z")
_time: Callable[[tuple[str, str]], str] = itemgetter(0)


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A ledger's own row."""

    id: int
    header: Record
    phase: str
    reason: str
    wait: bool  # until all snapshots are ready


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
        return f"{name_of(self.profile_names, self.source)} at {self.host}"

    @property
    def lock(self) -> int:
        """Of its pair."""
        return schema.pair_lock(self.source, self.host)

    @property
    def profile_names(self) -> tuple[str, ...]:
        """Whose rows these are."""
        return tuple(orjson.loads(self.profiles))


@contextmanager
def reader(address: Address, *, primary: bool = False, to: str = "read") -> Iterator[Database]:
    """A connection for the block; `primary`: not to a standby, which lags behind; `to` do what.

    Raises:
        LedgerError: the database is out of reach, or no statement is answered.
    """
    database = None
    try:
        database = Database(address, primary=primary)
        yield database
    except Away as away:
        raise LedgerError(f"can't {to} {address.label}: {away}") from away
    finally:
        if database is not None:
            database.close()


def find(database: Database, name: str) -> LedgerRow | None:
    """The ledger of that name; None where there is none."""
    schema.need(database.one(schema.THERE)[0])
    for number, header, *rest in database.run(_LEDGER, name):
        return LedgerRow(number, orjson.loads(header), *rest)
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
    return [QuotaRow(*row) for row in database.run(QUOTAS, ledger)]


def listed(database: Database) -> list[tuple[Any, ...]]:
    """(name, phase, header, rows, quotas) of every ledger.

    Raises:
        LedgerError: the database holds none.
    """
    schema.need(database.one(schema.THERE)[0])
    return database.run(_LIST)


def records(address: Address, *, primary: bool = False) -> Iterator[Record]:
    """The records of a ledger from its header on, as they are now; what decides by them must not
    ask a standby.

    Raises:
        LedgerError: there is none, or it can't be read.
    """
    with reader(address, primary=primary) as database, database.snapshot():
        ledger = need(database, address)
        yield ledger.header
        ids, merging = [quota.id for quota in quotas(database, ledger.id)], Merging()
        with ThreadPoolExecutor(1) as ahead:  # the server reads on while these are looked at
            coming = ahead.submit(merging.more, database, ids)
            while more := coming.result():
                coming = ahead.submit(merging.more, database, ids)
                for first in range(0, len(more), _AT_ONCE):
                    yield from _parsed(more[first : first + _AT_ONCE])


def _parsed(lines: list[str]) -> list[Record]:
    records: list[Record] = orjson.loads(f"[{','.join(lines)}]")
    return records


class _Part:
    """What was read of one quota. Its times never fall: the latest so far stands for each."""

    __slots__ = ("half", "seq", "to_its_end", "until")

    def __init__(self) -> None:
        self.seq = 0
        self.until = ""  # the time of the last record read
        self.half = ""  # of the one in the middle of those that were read last
        self.to_its_end = False

    def take(self, seq: int, lines: list[str]) -> Iterable[tuple[str, str]]:
        """Lines that follow, each with its time."""
        stamps = (line.partition(_AT)[2][:_STAMP] for line in lines)
        times = list(accumulate(stamps, max, initial=self.until))[1:]
        self.seq, self.until, self.half = seq, times[-1], times[len(times) // 2]
        return zip(times, lines, strict=True)


class Merging:
    """The lines of many quotas by their times, read a few at a time: one is told once every quota
    was read beyond its time, or to its end."""

    def __init__(self) -> None:
        self._parts: dict[int, _Part] = {}
        self._ahead: list[tuple[str, str]] = []  # read, and not told yet
        self._told_until = ""

    def more(self, database: Database, ids: Iterable[int]) -> list[str]:
        """The next lines of these quotas; none where all that is there was told. Then the next
        call looks again. Raises as `Database.run` does."""
        for quota in ids:
            self._parts.setdefault(quota, _Part())
        told: list[str] = []
        while not told and not all(part.to_its_end for part in self._parts.values()):
            self._read(database)
            open_ = (part.until for part in self._parts.values() if not part.to_its_end)
            self._told_until = min(open_, default=_NEVER)
            known = bisect_left(self._ahead, self._told_until, key=_time)
            told = [line for _, line in self._ahead[:known]]
            del self._ahead[:known]
        if not told:
            for part in self._parts.values():
                part.to_its_end, part.half = False, ""
        return told

    def _read(self, database: Database) -> None:
        """Read on where half of what was read is told."""
        parts = self._parts
        due = {
            quota: part.seq
            for quota, part in parts.items()
            if not part.to_its_end and part.half <= self._told_until
        }
        most = max(_AHEAD_LEAST, _AHEAD // len(parts))
        found = dict.fromkeys(due, 0)
        for quota, seq, number, lines in database.run(_NEXT, list(due), list(due.values()), most):
            found[quota] = number
            self._ahead.extend(parts[quota].take(seq, lines.split("\n")))
        for quota, number in found.items():
            parts[quota].to_its_end = number < most
        self._ahead.sort(key=_time)  # nearly in order, and of equal ones none passes another


def parts_in(database: Database, ledger: LedgerRow) -> list[Owned]:
    """The quotas of a ledger, and which of them a living process owns."""
    held = held_locks(database)
    return [
        Owned(row.source, row.host, row.profile_names, row.rows, row.ended or "", row.lock in held)
        for row in quotas(database, ledger.id)
        if row.source
    ]


def held_locks(database: Database) -> set[int]:
    """The locks that living processes have in this database."""
    return {number for (number,) in database.run(schema.HELD)}


class DatabaseFollower:
    """Reads on where it stopped, over a connection of its own."""

    def __init__(self, address: Address, *, primary: bool = False) -> None:
        self._address = address
        self._primary = primary
        self._database: Database | None = None
        self._merging = Merging()
        self._begun = False
        self._busy = False

    def more(self) -> list[Record]:
        """Records since the last call, not necessarily all.

        Raises:
            LedgerError: there is no such ledger. LedgerAway: they can't be read now.
        """
        with self._connected() as (database, ledger):
            if not self._begun:
                self._begun = True
                return [ledger.header]
            ids = [quota.id for quota in quotas(database, ledger.id)]
            return _parsed(self._merging.more(database, ids))

    def parts(self) -> list[Owned]:
        """Its quotas now; raises as `more`."""
        with self._connected() as (database, ledger):
            return parts_in(database, ledger)

    @contextmanager
    def _connected(self) -> Iterator[tuple[Database, LedgerRow]]:
        try:
            if self._database is None:
                self._database = Database(self._address, primary=self._primary)
            self._busy = True
            yield self._database, need(self._database, self._address)
        except Away as away:
            self._busy = False
            self.close()
            raise LedgerAway(f"can't read {self._address.label}: {away}") from None
        finally:
            self._busy = False

    def close(self) -> None:
        if self._database is None:
            return
        if self._busy:  # in another thread, which closes it then
            self._database.sever()
        else:
            self._database.close()
            self._database = None
