"""Workers over a ledger in PostgreSQL, as processes at one strict cloud, beside a run over a file.

Each profile has a SecretId of its own, and so a quota of its own at 20/s. Rows are loaded first,
by a process whose cost is not counted here; then workers begin together.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchsnap.ledger.record import unstamp
from batchsnap.postgres.reading import records
from benchmarks.common import CAP_PER_S, Cost, cost, server
from tests.cluster.fleet import write_keys, write_wide_fleet
from tests.cluster.team import elsewhere, until
from tests.postgres import Base, Server, new_base
from tests.process import Cli, Cloud

LEDGER = "bench"
_WRITTEN = "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
_KEPT = "select count(*), pg_total_relation_size('batchsnap.record') from batchsnap.record"
_OWNED = (
    "select count(*) from batchsnap.record where line::json ->> 'event' = 'claimed' "
    "group by line::json ->> 'worker' order by 1 desc"
)
_CLAIMED = (
    "select count(*) from batchsnap.quota q where q.source <> '' and "
    "exists (select from batchsnap.record r where r.quota = q.id)"
)


@dataclass(frozen=True, slots=True)
class Fleet:
    """A manifest over so many quotas, and the cloud that knows their keys."""

    folder: Path
    cloud: Cloud
    quotas: int
    rows: int


@contextmanager
def fleet_of(quotas: int, rows_each: int) -> Iterator[Fleet]:
    """A fleet in a folder of its own, and its cloud as a process of its own."""
    with tempfile.TemporaryDirectory() as place, server("quotas", "--serve") as (url, _):
        folder, rows = Path(place), quotas * rows_each
        write_keys(folder, quotas)
        write_wide_fleet(folder, rows, quotas)
        yield Fleet(folder, Cloud(url), quotas, rows)


def load(fleet: Fleet, base: Base, **settings: Any) -> Cost:
    """The fleet into a new ledger, by a process of its own."""
    command = ["-m", "benchmarks.parts", "load", base.url(LEDGER), "fleet.csv", fleet.cloud.url]
    done = cost([*command, json.dumps(settings)], fleet.folder)
    assert done.code == 0, done.err
    return done


def over_file(fleet: Fleet) -> Cost:
    """The whole fleet made by one process with a ledger in a file."""
    command = ["-m", "batchsnap", "run", "fleet.csv", "--endpoint", fleet.cloud.url]
    done = cost(command, fleet.folder, **elsewhere(fleet.folder, 100))
    assert done.code == 0, done.err
    return done


def over_database(fleet: Fleet, base: Base, workers: int = 1) -> list[Cost]:
    """The whole fleet made by workers that begin together, each as on a machine of its own."""
    command = ["-m", "batchsnap", "work", base.url(LEDGER)]
    command += ["--max-quotas", str(-(-fleet.quotas // workers))]

    def work(number: int) -> Cost:
        return cost(command, fleet.folder, **elsewhere(fleet.folder, number))

    with ThreadPoolExecutor(workers) as pool:
        done = list(pool.map(work, range(workers)))
    assert all(one.code == 0 for one in done), [one.err for one in done]
    return done


def starts_of(told: Iterable[dict[str, Any]]) -> dict[str, list[float]]:
    """When each profile's rows were sent, Unix seconds, in order."""
    sent: dict[str, list[float]] = defaultdict(list)
    for record in told:
        if record["event"] == "accepted":
            sent[record["profile"]].append(unstamp(record["sent_at"]))
    return {profile: sorted(times) for profile, times in sent.items()}


def of_cap_pct(starts: dict[str, list[float]]) -> list[float]:
    """Of each quota: starts made against those that the cap allows."""
    made = [(len(times) - 1) / (times[-1] - times[0]) for times in starts.values()]
    return [per_s / CAP_PER_S * 100 for per_s in made]


def check(fleet: Fleet) -> None:
    """Each row was made once."""
    seen = fleet.cloud.state()
    assert len(seen["snapshots"]) == fleet.rows, len(seen["snapshots"])
    assert not seen["duplicates"]["by_disk"], seen["duplicates"]


@dataclass(frozen=True, slots=True)
class Work:
    """What a fleet cost one worker and a run over a file, and what it left in the server."""

    rows: int
    file_s: float  # CPU
    worker_s: float
    server_s: float
    file_mb: float  # peak
    worker_mb: float
    wal_bytes: float  # a record
    table_bytes: float  # a record, its index included


def one_worker(postgres: Server, quotas: int, rows_each: int) -> Work:
    """A fleet over a file, then the same over the database."""
    with fleet_of(quotas, rows_each) as fleet:
        file = over_file(fleet)
        check(fleet)
    with fleet_of(quotas, rows_each) as fleet:
        base = new_base(postgres)
        load(fleet, base)
        base.sql("vacuum batchsnap.planned")  # its first reader would write pages
        base.server.sql("postgres", "checkpoint")
        written, served = base.sql(_WRITTEN)[0][0], server_s(postgres)
        [worker] = over_database(fleet, base)
        written, served = base.sql(_WRITTEN)[0][0] - written, server_s(postgres) - served
        check(fleet)
        number, kept = base.sql(_KEPT)[0]
    return Work(
        rows=fleet.rows,
        file_s=file.cpu_s,
        worker_s=worker.cpu_s,
        server_s=served,
        file_mb=file.peak_mb,
        worker_mb=worker.peak_mb,
        wal_bytes=float(written) / number,
        table_bytes=kept / number,
    )


def server_s(postgres: Server) -> float:
    """CPU seconds of all processes that the server has and had; 0 where the host doesn't tell."""
    first = (postgres.folder / "postmaster.pid").read_text().split()[0]
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile, and is counted at the next look
            fields = stat.read_text().rpartition(")")[2].split()
            if stat.parent.name == first:
                ticks += sum(map(int, fields[11:15]))  # its own, and of those that ended
            elif fields[1] == first:
                ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def side_by_side(postgres: Server, workers: int, quotas: int, rows_each: int) -> dict[str, Any]:
    """So many workers of so many quotas each: starts a second against the sum of caps."""
    with fleet_of(workers * quotas, rows_each) as fleet:
        base = new_base(postgres)
        load(fleet, base)
        done = over_database(fleet, base, workers)
        check(fleet)
        starts = starts_of(records(base.address(LEDGER)))
    shares = of_cap_pct(starts)
    per_s = _per_s(starts)
    caps_per_s = fleet.quotas * CAP_PER_S
    return {
        "workers": workers,
        "quotas": fleet.quotas,
        "caps_per_s": caps_per_s,
        "starts_per_s": round(per_s),
        "of_caps_pct": round(per_s / caps_per_s * 100, 1),
        "quota_median_pct": round(statistics.median(shares), 1),
        "quota_worst_pct": round(min(shares), 1),
        "cores": round(sum(one.cpu_s / one.wall_s for one in done), 2),
        "peak_mb": round(max(one.peak_mb for one in done), 1),
        "owned": "+".join(str(number) for (number,) in base.sql(_OWNED)),
    }


def _per_s(starts: dict[str, list[float]]) -> float:
    """Starts a second while every quota was at work; 0 where that was never."""
    begin = max(times[0] for times in starts.values())
    end = min(times[-1] for times in starts.values())
    within = sum(begin <= at < end for times in starts.values() for at in times)
    return within / (end - begin) if end > begin else 0.0


def claimed_by(postgres: Server, workers: int, quotas: int, rows_each: int) -> float:
    """Seconds from the start of so many workers, as processes, until every quota has its `claimed`.
    What is claimed is at work meanwhile, at one start a second."""
    with fleet_of(quotas, rows_each) as fleet:
        base = new_base(postgres)
        load(fleet, base, rate_per_s=1.0)
        most = str(-(-quotas // workers))
        began = time.perf_counter()
        started = [
            Cli(fleet.folder).start(
                *("work", base.url(LEDGER), "-q", "--max-quotas", most),
                **elsewhere(fleet.folder, number),
            )
            for number in range(workers)
        ]
        try:
            until(lambda: base.sql(_CLAIMED)[0][0] == quotas, 300.0)
            return time.perf_counter() - began
        finally:
            for process in started:
                process.kill()
                process.communicate()
