"""Parts of what a machine does with a ledger in PostgreSQL, each alone in a process of its own.

    python -m benchmarks.parts NAME ARGUMENT…    prints one JSON object of figures

`wait` and `wait-file`: how long an intent waits until it is durable. `intake` and `load`: a
manifest up to the database, and into it. `claim`: one batch of quotas, and a heartbeat of them.
`copy`: a ledger file into the database, as quotas at work side by side.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import orjson

from batchsnap.cli.main import ease_collector
from batchsnap.clock import LoopClock
from batchsnap.cloud.credentials import Credentials
from batchsnap.cloud.transport import get_unsigned
from batchsnap.cluster import claims
from batchsnap.cluster.load import Pair, add_quota
from batchsnap.cluster.run import load_run, prepare_load
from batchsnap.cluster.share import Share
from batchsnap.job.spec import JobSpec
from batchsnap.ledger.ports import RecordSink
from batchsnap.ledger.reading import records
from batchsnap.ledger.record import row_record, stamp
from batchsnap.ledger.replay import Fold
from batchsnap.ledger.store import Ledger
from batchsnap.postgres import recovery, schema
from batchsnap.postgres.address import parse
from batchsnap.postgres.door import copy_line
from batchsnap.postgres.hold import Hold
from batchsnap.postgres.reading import need, quotas, reader
from batchsnap.postgres.session import Session
from batchsnap.postgres.sink import QuotaSink
from batchsnap.settings import Waits
from tests.ledgers import BORN, header, request

STARTS_PER_S = 400
OPEN_QUOTAS = 20
_REPLY_S = 0.12
_BEATS = 20


async def _waits(sinks: Sequence[RecordSink], starts: int) -> dict[str, float]:
    """How long intents waited to be durable; each has its outcome a reply later."""
    found: list[float] = []

    async def one(number: int) -> None:
        sink, row, at = sinks[number % len(sinks)], request(number), stamp(BORN + number / 400)
        name = f"nightly-{row.key}-20261124-{number:08x}"
        began = time.perf_counter()
        await sink.durable(sink.append(row_record("intent", row, 1, at, snapshot_name=name)))
        found.append(time.perf_counter() - began)
        await anyio.sleep(_REPLY_S)
        told = {"request_id": f"{number:036x}", "sent_at": at, "latency_ms": 120.5}
        sink.append(row_record("accepted", row, 1, at, snapshot_id=f"snap-{number:08x}", **told))

    async with anyio.create_task_group() as tasks:
        due = time.perf_counter()
        for number in range(starts):
            due += 1 / STARTS_PER_S
            await anyio.sleep(max(0.0, due - time.perf_counter()))
            tasks.start_soon(one, number)
    hundredths = statistics.quantiles(found, n=100)
    return {"p50_ms": hundredths[49] * 1e3, "p99_ms": hundredths[98] * 1e3}


async def wait_file(starts: str) -> dict[str, float]:
    """Over a file: one ledger for all quotas."""
    path = Path("bench.jsonl")
    ledger = Ledger.create(path, header(path, int(starts)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledger.commit)
        found = await _waits([ledger], int(starts))
        ledger.close()
    ledger.release()
    return found


async def wait(url: str, starts: str) -> dict[str, float]:
    """Over the database: one session for all quotas, each with a part of its own."""
    session = Session(parse(url), LoopClock(), lambda _: None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.run)
        sinks = []
        for hold in await _owned(session, OPEN_QUOTAS):
            fold = Fold()
            fold.apply(header(Path("x"), int(starts)))
            sinks.append(QuotaSink(session, hold, fold, label=url, records=lambda: iter(())))
        found = await _waits(sinks, int(starts))
        session.close()
    return found


async def _owned(session: Session, number: int) -> list[Hold]:
    """So many quotas as a claim leaves them."""
    ids = list(range(1, number + 1))
    await session.call(lambda database: database.run(schema.TRY_LOCKS, ids))
    values = ids, [1] * number, ['{"event":"claimed"}'] * number
    await session.call(lambda database: database.run(schema.APPEND, *values))
    holds = [Hold(one, one, 1, session.clocks, f"quota {one}") for one in ids]
    for hold in holds:
        session.adopt(hold)
    for hold in holds:
        assert await hold.lease.held()
    return holds


async def load(
    url: str, manifest: str, endpoint: str, given: str, *, into: bool = True
) -> dict[str, float]:
    """What `run` does before it works; without `into`, before it writes to the database."""
    address = parse(url)
    prepared = prepare_load(address, JobSpec(manifest, endpoint, given=json.loads(given)))
    if into:
        await load_run(address, prepared, Credentials(get_unsigned))
    prepared.close()
    return {"rows": prepared.intake.rows}


async def _all_fit(shares: Sequence[Share]) -> Sequence[Share]:
    return shares


async def claim(url: str, number: str) -> dict[str, float]:
    """One batch of so many; then a heartbeat of all that it brought."""
    claims.BATCH = int(number)
    address, clock = parse(url), LoopClock()
    session = Session(address, clock, lambda _: None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.run)
        with reader(address) as database:
            wanted = [row for row in quotas(database, need(database, address).id) if row.source]
        await session.call(lambda database: None)
        began = time.perf_counter()
        got = await claims.Claims(address, session, clock, Waits()).take(
            wanted, int(number), _all_fit
        )
        claim_s = time.perf_counter() - began
        assert len(got) == int(number), len(got)
        holds = [one.hold for one in got]
        began = time.perf_counter()
        for _ in range(_BEATS):
            await session.call(partial(recovery.seen, holds=holds))
        beat_ms = (time.perf_counter() - began) / _BEATS * 1e3
        session.close()
    return {"claim_s": claim_s, "beat_ms": beat_ms}


async def copy(path: str, url: str, number: str) -> dict[str, float]:
    """A ledger file into the database, its rows going round so many quotas."""
    address, told = parse(url), records(Path(path))
    first = next(told)
    first.pop("crc", None)
    make = "insert into batchsnap.ledger (name, header) values (%s, %s) returning id"
    seqs: dict[int, int] = {}

    def lines(own: int, ids: list[int]) -> Iterator[bytes]:
        for record in told:
            key = record.get("key")
            quota = own if key is None else ids[int(key[-8:], 16) % len(ids)]
            seqs[quota] = seqs.get(quota, 0) + 1
            kept = {k: v for k, v in record.items() if k not in {"seq", "synced", "crc"}}
            yield copy_line(quota, seqs[quota], orjson.dumps(kept))

    with reader(address) as database, database.transaction():
        ledger = database.one(make, address.ledger, orjson.dumps(first).decode())[0]
        own = add_quota(database, ledger, Pair("", ""))
        ids = [add_quota(database, ledger, Pair(f"q{nth}", "h")) for nth in range(int(number))]
        query = "copy batchsnap.record (quota, seq, line) from stdin"
        database.copy_in(query, lines(own, ids))
    return {"records": 1 + sum(seqs.values())}


PARTS: dict[str, Callable[..., Any]] = {
    "wait": wait,
    "wait-file": wait_file,
    "load": load,
    "intake": partial(load, into=False),
    "claim": claim,
    "copy": copy,
}


if __name__ == "__main__":
    ease_collector()  # as the command does
    print(json.dumps(anyio.run(PARTS[sys.argv[1]], *sys.argv[2:])))
