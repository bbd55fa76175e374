"""The ledger in PostgreSQL beside the ledger in a file, in one run, and workers side by side.

It starts a PostgreSQL of its own, in the temporary folder, on the same disk as the files. A wait is
that of an intent until it is durable, at 400 starts a second over twenty quotas, an outcome after
each. CPU a row is the whole process's, start-up and claims included; the server's is not in it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import workers
from benchmarks.common import Cost, cost, table
from benchmarks.parts import STARTS_PER_S
from tests.ledgers import write_ledger
from tests.postgres import Server, new_base, own_server
from tests.process import write_fleet

THEN = 1.43
"""What a row over a file cost at 1500a4c, before the engine was made fast, by what it costs now."""
LEDGER = workers.LEDGER
_REGIONS = ("ap-guangzhou", "ap-singapore", "eu-frankfurt", "na-siliconvalley")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    rounds: int = 5
    starts: int = 2_000  # in each
    quotas: tuple[int, int] = (20, 400)  # of one worker, and rows of each
    memory: tuple[int, int] = (30, 100)  # likewise
    manifest: int = 1_000_000  # rows
    records: int = 1_000_000
    owners: tuple[int, int, int] = (3, 300, 60)  # workers, quotas, rows of each
    batch: int = 100  # quotas
    quota_rows: int = 3_333
    workers: tuple[int, ...] = (1, 2, 4)
    each: tuple[int, int] = (min(40, 5 * (os.cpu_count() or 1)), 400)  # quotas, rows of each


SMALL = Sizes(1, 40, (2, 10), (2, 10), 500, 500, (2, 4, 5), 2, 50, (1,), (2, 10))


def line(
    what: str, reach: str, file: float | None, postgres: float, most: float = math.inf
) -> dict[str, Any]:
    """One figure of each; reached where PostgreSQL's is at most `most`."""
    return {
        "what": what,
        "reach": reach,
        "file": "" if file is None else _short(file),
        "postgres": _short(postgres),
        "ratio": "" if file is None else round(postgres / file, 2),
        "reached": "" if math.isinf(most) else "yes" if postgres <= most else "no",
    }


def _short(figure: float) -> float:
    return round(figure, 2) if figure < 100 else round(figure)


def _part(name: str, *arguments: str, folder: Path) -> tuple[Cost, dict[str, float]]:
    done = cost(["-m", "benchmarks.parts", name, *arguments], folder)
    assert done.code == 0, done.err
    return done, json.loads(done.out)


def wait(server: Server, sizes: Sizes) -> list[dict[str, Any]]:
    """The wait for a durable intent: in turn, and the best round of each counts."""
    files, databases = [], []
    for _ in range(sizes.rounds):
        with tempfile.TemporaryDirectory() as place:
            folder, starts = Path(place), str(sizes.starts)
            files.append(_part("wait-file", starts, folder=folder)[1])
            url = new_base(server).url(LEDGER)
            databases.append(_part("wait", url, starts, folder=folder)[1])
    found = []
    for figure, reach, most in (("p50_ms", "≤ 2 × file", 2.0), ("p99_ms", "", math.inf)):
        file, database = (min(one[figure] for one in told) for told in (files, databases))
        what = f"wait for a durable intent at {STARTS_PER_S}/s, ms, {figure[:3]}"
        found.append(line(what, reach, file, database, most * file))
    return found


def work(server: Server, sizes: Sizes) -> list[dict[str, Any]]:
    """One worker beside a run over a file."""
    done = workers.one_worker(server, *sizes.quotas)
    file, worker, served = (
        s / done.rows * 1e3 for s in (done.file_s, done.worker_s, done.server_s)
    )
    same = sizes.memory == sizes.quotas
    large = done if same else workers.one_worker(server, *sizes.memory)
    return [
        line(
            f"CPU a row in a worker of {sizes.quotas[0]} quotas, ms",
            f"≤ {1 + THEN / 4:.2f} × file",
            file,
            worker,
            (1 + THEN / 4) * file,
        ),
        line("the same in the server, ms", "", None, served),
        line("write-ahead log a record, bytes", "≤ 550", None, done.wal_bytes, 550),
        line("table and index a record, bytes", "≤ 420", None, done.table_bytes, 420),
        line(
            f"peak of a worker with {sizes.memory[0]} quotas, MB",
            "≤ 1.5 × file",
            large.file_mb,
            large.worker_mb,
            1.5 * large.file_mb,
        ),
    ]


def load(server: Server, sizes: Sizes) -> list[dict[str, Any]]:
    """A big manifest into the database, against all that a run does before it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_fleet(folder, sizes.manifest, regions=_REGIONS)
        rest = new_base(server).url(LEDGER), "fleet.csv", "http://127.0.0.1:9", "{}"
        intake, _ = _part("intake", *rest, folder=folder)
        loaded, _ = _part("load", *rest, folder=folder)
    what = f"load of {sizes.manifest:,} rows (file: intake)"
    return [
        line(f"{what}, CPU s", "≤ 1.5 × file", intake.cpu_s, loaded.cpu_s, 1.5 * intake.cpu_s),
        line(f"{what}, s", "", intake.wall_s, loaded.wall_s),
        line(f"{what}, peak MB", "≤ 200", intake.peak_mb, loaded.peak_mb, 200),
    ]


def claim(server: Server, sizes: Sizes) -> list[dict[str, Any]]:
    """Quotas claimed by many, by one in one batch, and a big one."""
    all_s = workers.claimed_by(server, *sizes.owners)
    batch = _one_batch(server, sizes.batch, 10)
    big = _one_batch(server, 1, sizes.quota_rows)
    number, quotas, _ = sizes.owners
    return [
        line(
            f"{quotas} quotas claimed by {number} workers, start and all, s",
            "≤ 40",
            None,
            all_s,
            40,
        ),
        line(f"one batch of {sizes.batch} quotas claimed, s", "≤ 3", None, batch["claim_s"], 3),
        line(
            f"a quota of {sizes.quota_rows:,} rows claimed, s", "≤ 0.3", None, big["claim_s"], 0.3
        ),
        line(f"heartbeat of {sizes.batch} quotas, ms", "", None, batch["beat_ms"]),
    ]


def _one_batch(server: Server, quotas: int, rows_each: int) -> dict[str, float]:
    with workers.fleet_of(quotas, rows_each) as fleet:
        base = new_base(server)
        workers.load(fleet, base)
        return _part("claim", base.url(LEDGER), str(quotas), folder=fleet.folder)[1]


def read(server: Server, sizes: Sizes) -> list[dict[str, Any]]:
    """All of a big ledger."""
    base = new_base(server)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path = write_ledger(folder / "bench.jsonl", sizes.records * 9 // 20)
        _, told = _part("copy", path.name, base.url(LEDGER), "20", folder=folder)
        base.sql("vacuum analyze batchsnap.record")  # as autovacuum does by and by
        file = _batchsnap("status", path.name, folder=folder)
        database = _batchsnap("status", base.url(LEDGER), folder=folder)
        copy = _batchsnap("ledger", "export", base.url(LEDGER), "-o", "copy.jsonl", folder=folder)
    what = f"`status` of {told['records']:,} records"
    return [
        line(f"{what}, s", "≤ 1.2 × file", file.wall_s, database.wall_s, 1.2 * file.wall_s),
        line(f"{what}, CPU s", "", file.cpu_s, database.cpu_s),
        line(f"{what}, peak MB", "", file.peak_mb, database.peak_mb),
        line(f"`ledger export` of {told['records']:,}, s", "", None, copy.wall_s),
        line(f"`ledger export` of {told['records']:,}, peak MB", "", None, copy.peak_mb),
    ]


def _batchsnap(*command: str, folder: Path) -> Cost:
    done = cost(["-m", "batchsnap", *command], folder)
    assert done.code == 0, done.err
    return done


def beside(server: Server, sizes: Sizes) -> list[dict[str, Any]]:
    """Workers side by side."""
    return [workers.side_by_side(server, number, *sizes.each) for number in sizes.workers]


PARTS = (wait, work, load, claim, read, beside)
NAMES = tuple(part.__name__ for part in PARTS)
AT_ONCE = 6


def main(small: bool = False, names: Sequence[str] = NAMES) -> dict[str, Any]:
    """Every figure of both, then workers side by side; or some parts of all that."""
    sizes = SMALL if small else Sizes()
    # As with the benches themselves: tiny sizes mostly wait, and nothing is measured beside others.
    with own_server() as server, ThreadPoolExecutor(AT_ONCE if small else 1) as pool:
        server.alter("autovacuum", "off")  # it would write beside
        chosen = [part for part in PARTS if part.__name__ in names]
        found = dict(zip(chosen, pool.map(lambda part: part(server, sizes), chosen), strict=True))
    return {
        "rows": [row for part, rows in found.items() if part is not beside for row in rows],
        "workers": found.get(beside, []),
    }


def shown(result: dict[str, Any]) -> str:
    return "\n".join(table(rows) for rows in result.values() if rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(NAMES))
    parser.add_argument("--small", action="store_true", help="a tiny size, so that it doesn't rot")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    options = parser.parse_args()
    began = time.perf_counter()
    found = main(options.small, options.parts or NAMES)
    print(json.dumps(found) if options.json else shown(found))
    if not options.json:
        print(f"({time.perf_counter() - began:.1f} s)")
