"""The whole engine without a cap, against a bare aiohttp loop that posts the same signed bytes.

Ours writes a durable ledger, signs, paces, parses and folds; the bare loop only posts, with the
same number of connections. Both against a server that costs next to nothing, in turn.
"""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

import batchsnap
from batchsnap.cloud import actions, tc3
from batchsnap.cloud.quotas import host_of
from batchsnap.settings import API_LIMIT_MAX_PER_S
from tests.ledgers import request

OUT_AT_ONCE = 64
_KEYS = tc3.Credential("AKIDmadeup", "made-up-secret-key", "", "bench", None)


class Keys:
    """One made-up key for every profile."""

    async def get(self, profile: str) -> tc3.Credential:
        return _KEYS

    def invalidate(self, profile: str) -> None:
        """Nothing to fetch anew."""


@contextmanager
def cheap_server() -> Iterator[str]:
    """Its URL while the block runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.cheap_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate("")


async def bare(url: str, calls: int) -> None:
    """Post signed bytes, signed beforehand, as fast as they come back."""
    host = host_of(url)
    signed = [
        tc3.sign(
            url=url,
            host=host,
            action="CreateSnapshot",
            version=actions.VERSION,
            region="ap-guangzhou",
            body=actions.create_snapshot(request(number)),
            timestamp=int(time.time()),
            credential=_KEYS,
        )
        for number in range(calls)
    ]
    jobs = iter(signed)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def worker() -> None:
            for job in jobs:
                async with session.post(job.url, data=job.body, headers=job.headers) as reply:
                    await reply.read()

        await asyncio.gather(*(worker() for _ in range(OUT_AT_ONCE)))


async def ours(url: str, fleet: Path, ledger: Path) -> None:
    """The engine, ledger and all."""
    result = await batchsnap.run(
        fleet,
        ledger=ledger,
        endpoint=url,
        credentials=Keys(),
        rate_per_s=float(API_LIMIT_MAX_PER_S),
        api_limit_per_s=API_LIMIT_MAX_PER_S,
        max_in_flight=OUT_AT_ONCE,
    )
    assert result.exit is batchsnap.Exit.DONE, result


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(small: bool = False) -> dict[str, Any]:
    """Requests a second of both, their ratio, and CPU microseconds a request. The second in which
    a process may not start, and the signing done beforehand, are left out."""
    calls, rounds = (300, 1) if small else (6000, 3)
    best = {"bare loop": (float("inf"), 0.0), "batchsnap": (float("inf"), 0.0)}
    with cheap_server() as url, tempfile.TemporaryDirectory() as folder:
        fleet = Path(folder) / "fleet.csv"
        rows = "".join(f"{request(n).key},ap-guangzhou\n" for n in range(calls))
        fleet.write_text(f"DiskId,Region\n{rows}")
        for number in range(rounds):
            began, cpu = time.perf_counter(), _cpu_s()
            asyncio.run(bare(url, calls))
            best["bare loop"] = min(
                best["bare loop"], (time.perf_counter() - began, _cpu_s() - cpu)
            )
            began, cpu = time.perf_counter(), _cpu_s()
            asyncio.run(ours(url, fleet, Path(folder) / f"{number}.jsonl"))
            best["batchsnap"] = min(
                best["batchsnap"], (time.perf_counter() - began - 1.0, _cpu_s() - cpu)
            )
    return {
        "calls": calls,
        "rows": [
            {
                "loop": name,
                "requests_per_s": round(calls / seconds),
                "ratio": round(best["bare loop"][0] / seconds, 2),
                "cpu_us": round(cpu / calls * 1e6),
            }
            for name, (seconds, cpu) in best.items()
        ],
    }
