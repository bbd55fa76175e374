"""What is written of a run as a whole: its manifest, in one transaction, so that a load that dies
leaves nothing; and its ends, each told once, with the phase, by whoever is first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple

import orjson

from batchsnap.client.ports import CredentialSource
from batchsnap.cloud.endpoints import endpoint_url, host_of
from batchsnap.engine.queue import Queue
from batchsnap.errors import CredentialsError, Exit, LedgerError, LedgerLocked, UsageError
from batchsnap.job.spec import JobSpec
from batchsnap.ledger.record import Record, stamp
from batchsnap.lifecycle import Event
from batchsnap.model import PlannedRequest
from batchsnap.postgres import schema
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import Away, Database, Fenced, copy_line
from batchsnap.postgres.reading import reader
from batchsnap.postgres.recovery import newest_of, server_of
from batchsnap.settings import Settings
from batchsnap.version import TOOL

_BATCH = 1000
_LEDGER = (
    "insert into batchsnap.ledger (name, header, phase) values (%s, %s, 'stopped') returning id"
)
_QUOTA = "insert into batchsnap.quota (ledger, source, host) values (%s, %s, %s) returning id"
_ROWS = "update batchsnap.quota set rows = %s, profiles = %s where id = %s"
_OWN = "select id from batchsnap.quota where ledger = %s and source = ''"
_STOP = (
    "update batchsnap.ledger set phase = 'stopped', reason = %s "  # noqa: S608
    f"where id = %s and {schema.IS_AT_WORK} returning id"
)
_ALL_ENDED = (
    "not exists (select from batchsnap.quota where ledger = l.id and source <> '' "
    "and ended is null)"
)
_END = (
    "update batchsnap.ledger l set phase = %s "  # noqa: S608
    f"where id = %s and {schema.IS_AT_WORK} and {_ALL_ENDED} returning id"
)
_LAST_OF_ENDED = (
    "select coalesce((select max(r.seq) from batchsnap.quota q join batchsnap.record r "  # noqa: S608
    "on r.quota = q.id where q.ledger = l.id and q.source = ''), 0) "
    f"from batchsnap.ledger l where id = %s and {_ALL_ENDED}"
)
_TRIES = 3  # the run's own records have no owner: another process may write at the same moment


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
) -> None:
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


def resumed(
    spec: JobSpec, manifest: dict[str, Any], settings: Settings, *, retry_failed: bool
) -> Record:
    """The record of whoever opens a run again; it says where a person knows that records may be
    missing."""
    record: Record = {
        "event": Event.RESUMED,
        "at": now_stamp(),
        "tool": TOOL,
        "manifest": manifest,
        "settings": settings.to_json(),
        "retry_failed": retry_failed,
    }
    if spec.ask_first:
        lost = "the database was put back to an earlier state (--ask-first)"
        record["recovered"] = {"lost": lost}
    return record


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


def own_quota(database: Database, ledger: int) -> int:
    """The quota that holds the run's own records."""
    number: int = database.one(_OWN, ledger)[0]
    return number


def stop_open(database: Database, ledger: int, code: Exit, *, reason: str) -> Record | None:
    """Have every worker drain; None where the run is not open. Of one that is halted the reason
    stays with the ledger too.

    Raises:
        Away: whether it was done is not known.
    """
    record: Record = {"event": Event.STOPPED, "at": now_stamp(), "exit": code, "reason": reason}
    for _ in range(_TRIES):
        try:
            with database.transaction():
                if not database.run(_STOP, reason if code is Exit.HALTED else "", ledger):
                    return None
                append_own(database, own_quota(database, ledger), record)
        except Fenced:
            continue
        return record
    raise Away("other processes write the run's own records at the same moment")


def last_of_ended(database: Database, ledger: int) -> int | None:
    """The number of the run's own last record, where no quota is left to work on: records that are
    read after this are all there are, until there is another of the run's own."""
    for (number,) in database.run(_LAST_OF_ENDED, ledger):
        return int(number)
    return None


def end_open(database: Database, ledger: int, code: Exit, last: int) -> Record | None:
    """Write how a run ended of which no quota is left to work on, as the record after the `last`
    of its own; None where another was first, or has taken it up.

    Raises:
        Away: whether it was done is not known.
    """
    well = code in {Exit.DONE, Exit.SOME_FAILED}
    event = Event.FINISHED if well else Event.STOPPED
    record: Record = {"event": event, "at": now_stamp(), "exit": code}
    line = orjson.dumps(record).decode()
    try:
        with database.transaction():
            if not database.run(_END, "finished" if well else "stopped", ledger):
                return None
            database.run(schema.APPEND, [own_quota(database, ledger)], [last + 1], [line])
    except Fenced:
        return None
    return record


def now_stamp() -> str:
    return stamp(datetime.now(UTC).timestamp())
