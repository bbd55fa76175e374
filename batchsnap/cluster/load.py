"""A manifest into the database: one transaction, so that a load that dies leaves nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

import orjson

from batchsnap.client.ports import CredentialSource
from batchsnap.cloud.endpoints import endpoint_url, host_of
from batchsnap.engine.queue import Queue
from batchsnap.errors import CredentialsError, LedgerError, LedgerLocked, UsageError
from batchsnap.ledger.record import Record
from batchsnap.model import PlannedRequest
from batchsnap.postgres import schema
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import Away, Database, Fenced, copy_line
from batchsnap.postgres.reading import LedgerRow, find, reader
from batchsnap.postgres.recovery import newest_of, server_of

_BATCH = 1000
_LEDGER = (
    "insert into batchsnap.ledger (name, header, phase) values (%s, %s, 'stopped') returning id"
)
_QUOTA = "insert into batchsnap.quota (ledger, source, host) values (%s, %s, %s) returning id"
_ROWS = "update batchsnap.quota set rows = %s, profiles = %s where id = %s"


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


def load(
    address: Address, header: Record, pairs: Mapping[Pair, list[Queue]], *, wait: bool
) -> LedgerRow:
    """Make the ledger with all its rows; `wait`: the run ends when all is ready.

    Raises:
        LedgerLocked: another process loads it, or has loaded it meanwhile.
        LedgerError: the database refuses, or is out of reach; nothing is there then.
    """
    with reader(address, primary=True) as database:
        lock = schema.run_lock(address.ledger)
        try:
            with database.transaction():
                # Of the transaction, for a pooler may give the next one another session.
                if not database.one("select pg_try_advisory_xact_lock(%s)", lock)[0]:
                    raise _beaten(address)
                _load(database, address.ledger, header, pairs, wait=wait)
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


def _load(
    database: Database,
    name: str,
    header: Record,
    pairs: Mapping[Pair, list[Queue]],
    *,
    wait: bool,
) -> None:
    stored = {**header, "server": server_of(database)._asdict()}
    [(ledger,)] = database.run(_LEDGER, name, orjson.dumps(stored).decode())
    add_quota(database, ledger, Pair("", ""))
    ids = {pair: add_quota(database, ledger, pair) for pair in pairs}
    counts = plan_rows(database, pairs, ids)
    for pair, quota in ids.items():
        profiles = sorted({queue.profile for queue in pairs[pair]})
        database.run(_ROWS, counts[quota], orjson.dumps(profiles).decode(), quota)
    database.run(schema.OPEN, header["settings"]["canary"] > 0, wait, ledger)


def add_quota(database: Database, ledger: int, pair: Pair) -> int:
    """A quota of the ledger; its number."""
    number: int = database.one(_QUOTA, ledger, *pair)[0]
    return number


def plan_rows(
    database: Database,
    pairs: Mapping[Pair, list[Queue]],
    ids: Mapping[Pair, int],
    check: Callable[[PlannedRequest, int], None] = lambda request, quota: None,
) -> Counter[int]:
    """COPY what is to be done into `planned`; how many rows each quota has there."""
    counts: Counter[int] = Counter()

    def lines() -> Iterator[bytes]:
        for pair, queues in pairs.items():
            quota = ids[pair]
            for request in chain.from_iterable(map(_requests, queues)):
                check(request, quota)
                counts[quota] += 1
                yield copy_line(quota, counts[quota], schema.document(request))

    database.copy_in("copy batchsnap.planned (quota, ord, request) from stdin", lines())
    return counts


def _requests(queue: Queue) -> Iterator[PlannedRequest]:
    for worklist in (queue.doubts, queue.worklist):
        for batch in worklist.batches(_BATCH):
            yield from batch


def append_own(database: Database, quota: int, record: Mapping[str, Any]) -> None:
    """The next record of the run's own."""
    newest = newest_of(database, [quota]).get(quota, 0)
    database.run(schema.APPEND, [quota], [newest + 1], [orjson.dumps(record).decode()])


async def sources_of(profiles: set[str], credentials: CredentialSource) -> dict[str, str]:
    """Whose quota each profile uses.

    Raises:
        UsageError: one can't be told, so its rows could not be divided.
    """
    found = {}
    for profile in sorted(profiles):
        try:
            found[profile] = (await credentials.get(profile)).quota_source
        except CredentialsError as error:
            raise UsageError(
                f"profile {profile or 'of the default chain'}: {error}. Whoever loads a run needs "
                "the keys of all its rows, which are divided by whose quota they use"
            ) from None
    return found
