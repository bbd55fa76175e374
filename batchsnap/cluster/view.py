"""What a person sees of the whole run while it goes on, and who owns what."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import orjson

from batchsnap.errors import LedgerError
from batchsnap.ledger.record import Record
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import DONE, ENDED, UNCERTAIN
from batchsnap.postgres.address import Address
from batchsnap.postgres.reading import Follower, need, quotas, reader

_MARK = (
    "select line from batchsnap.record where quota = %s and "
    "(line::json ->> 'event') in ('claimed', 'released') order by seq desc limit 1"
)


class View:
    """Reads on where it stopped. Use it in one thread at a time."""

    def __init__(self, address: Address) -> None:
        self._follower = Follower(address)
        self._fold = Fold()

    def line(self) -> str:
        """How the run stands; "" where the database does not answer."""
        try:
            while more := self._follower.more():
                for record in more:
                    self._fold.apply(record)
        except LedgerError:
            return ""
        counts = self._fold.counts
        rows = int(self._fold.manifest.get("rows", 0))
        done = sum(counts[state] for state in DONE)
        doubts = sum(counts[state] for state in UNCERTAIN)
        failed = sum(counts[state] for state in ENDED)
        return f"{done:,}/{rows:,} done, {doubts} in doubt, {failed} failed, on all machines"

    def close(self) -> None:
        self._follower.close()


class Owner(NamedTuple):
    """Who works on a quota."""

    source: str
    host: str
    worker: str  # "" where nobody does
    since: str
    left: str  # how many rows, or how it ended

    def __str__(self) -> str:
        who = f"{self.worker} since {self.since}" if self.worker else "nobody"
        return f"  {self.source} at {self.host}: {who}, {self.left}"


def owners(address: Address) -> list[Owner]:
    """A line a quota.

    Raises:
        LedgerError: there is no such ledger, or it can't be read.
    """
    with reader(address) as database:
        ledger = need(database, address)
        found = []
        for quota in quotas(database, ledger.id):
            if not quota.source:
                continue
            mark = next((orjson.loads(line) for (line,) in database.run(_MARK, quota.id)), None)
            worker, since = _owner(mark)
            state = quota.ended or f"{quota.rows:,} rows"
            found.append(Owner(quota.source, quota.host, worker, since, state))
    return found


def _owner(mark: Record | None) -> tuple[str, str]:
    if mark is None or mark["event"] != "claimed":
        return "", ""
    return str(mark.get("worker", "")), mark["at"]


def owned(found: Iterable[Owner]) -> list[Owner]:
    """Those that somebody works on."""
    return [owner for owner in found if owner.worker]
