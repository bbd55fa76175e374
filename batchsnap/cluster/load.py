"""A manifest into the database: one transaction, so that a load that dies leaves nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from batchsnap.cloud.endpoints import endpoint_url, host_of
from batchsnap.cluster.claims import server_of
from batchsnap.engine.queue import Queue
from batchsnap.errors import LedgerError, LedgerLocked
from batchsnap.ledger.record import Record
from batchsnap.postgres import schema
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import Away, Database, Fenced
from batchsnap.postgres.reading import LedgerRow, find, reader

_BATCH = 1000
_LEDGER = "insert into batchsnap.ledger (name, header) values (%s, %s) returning id"
_QUOTA = (
    "insert into batchsnap.quota (ledger, source, host, profiles) values (%s, %s, %s, %s) "
    "returning id"
)
_ROWS = "update batchsnap.quota set rows = %s where id = %s"


class Pair(NamedTuple):
    """What is paced by one owner."""

    source: str
    host: str


def pairs_of(
    queues: Iterable[Queue], sources: Mapping[str, str], endpoint: str
) -> dict[Pair, list[Queue]]:
    """Queues that share a credential's source and a host; `sources` by profile."""
    pairs: dict[Pair, list[Queue]] = {}
    for queue in queues:
        host = host_of(endpoint_url(endpoint, queue.region))
        pairs.setdefault(Pair(sources[queue.profile], host), []).append(queue)
    return pairs


def load(address: Address, header: Record, pairs: Mapping[Pair, list[Queue]]) -> LedgerRow:
    """Make the ledger with all its rows.

    Raises:
        LedgerLocked: another process loads it, or has loaded it meanwhile.
        LedgerError: the database refuses, or is out of reach; nothing is there then.
    """
    with reader(address) as database:
        # Held by the session: the transaction below may be long.
        if not database.one("select pg_try_advisory_lock(%s)", schema.run_lock(address.ledger))[0]:
            raise _beaten(address)
        try:
            with database.transaction():
                _load(database, address.ledger, header, pairs)
        except Fenced:
            raise _beaten(address) from None
        except Away as away:
            raise LedgerError(f"can't load into {address.label}: {away}") from None
        found = find(database, address.ledger)
        assert found is not None
        return found


def _beaten(address: Address) -> LedgerLocked:
    return LedgerLocked(
        f"another process loads {address.ledger} at this moment: run the same command again"
    )


def _load(database: Database, name: str, header: Record, pairs: Mapping[Pair, list[Queue]]) -> None:
    stored = {**header, "server": server_of(database)._asdict()}
    [(ledger,)] = database.run(_LEDGER, name, orjson.dumps(stored).decode())
    database.run(_QUOTA, ledger, "", "", "[]")
    ids: dict[Pair, int] = {}
    for pair, queues in pairs.items():
        profiles = sorted({queue.profile for queue in queues})
        [(ids[pair],)] = database.run(_QUOTA, ledger, *pair, orjson.dumps(profiles).decode())
    counts = dict.fromkeys(ids.values(), 0)
    copy = "copy batchsnap.planned (quota, ord, request) from stdin"
    database.copy_in(copy, _lines(pairs, ids, counts))
    for quota, rows in counts.items():
        database.run(_ROWS, rows, quota)


def _lines(
    pairs: Mapping[Pair, list[Queue]], ids: Mapping[Pair, int], counts: dict[int, int]
) -> Iterator[tuple[Any, ...]]:
    for pair, queues in pairs.items():
        quota = ids[pair]
        for queue in queues:
            for batch in queue.worklist.batches(_BATCH):
                for request in batch:
                    counts[quota] += 1
                    yield quota, counts[quota], orjson.dumps(request._asdict()).decode()
