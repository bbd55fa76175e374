"""Many quotas in one process: 20 profiles at 20/s each, and up to eight times as many.

Each profile has its own SecretId, and the cloud counts by SecretId, so each is a quota of its own
at the one strict simulator (120 ms median, 20 in any second, its own process). A quota holds while
it makes 98 % of its cap from its first start to that of its last fresh row: after it only rows that
were throttled come again, a second later, and nobody is left to use the starts between.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from batchsnap.ledger.record import unstamp
from benchmarks.common import CAP_PER_S, alone, busy_s, cost, server
from tests.cluster.fleet import write_keys, write_wide_fleet
from tests.process import SECRET_KEY, Cli, Cloud

HOLDS_PCT = 98.0
QUOTAS = (20, 40, 80, 120, 160)
_ROWS_A_QUOTA = 400  # twenty seconds


def _of_cap_pct(records: list[dict[str, Any]]) -> list[float]:
    """Of each quota, by its ledger: starts made against those that the cap allows."""
    sent = defaultdict(list)
    fresh: dict[str, float] = defaultdict(float)
    for record in records:
        if record["event"] == "accepted":
            at, quota = unstamp(record["sent_at"]), record["profile"]
            sent[quota].append(at)
            fresh[quota] = max(fresh[quota], at * (record["attempt"] == 1))
    shares = []
    for quota, times in sent.items():
        counted = [at for at in times if at <= fresh[quota]]
        shares.append((len(counted) - 1) / (fresh[quota] - min(counted)) / CAP_PER_S * 100)
    return shares


def measure(quotas: int, rows: int) -> dict[str, Any]:
    """One run of so many quotas, `rows` each."""
    with tempfile.TemporaryDirectory() as place, server("quotas", "--serve") as (url, pid):
        folder = Path(place)
        write_keys(folder, quotas)
        write_wide_fleet(folder, rows * quotas, quotas)
        before_s = busy_s(pid)
        took = cost(["-m", "batchsnap", "run", "fleet.csv", "-q", "--endpoint", url], folder)
        assert took.code == 0, took.err
        seen = Cloud(url).state()
        served_s = busy_s(pid) - before_s
        meters = [meter for meter in seen["quotas"] if meter["action"] == "CreateSnapshot"]
        shares = _of_cap_pct(Cli(folder).records())
    calls = sum(meter["calls"] for meter in meters)
    assert len(meters) == len(shares) == quotas, meters
    assert not seen["duplicates"]["by_disk"], seen["duplicates"]
    return {
        "quotas": quotas,
        "calls_per_s": quotas * CAP_PER_S,
        "wall_s": round(took.wall_s, 1),
        "of_cap_pct_median": round(statistics.median(shares), 2),
        "of_cap_pct_worst": round(min(shares), 2),
        "throttled_pct": round(sum(m["throttled"] for m in meters) / calls * 100, 3),
        "worst_second": max(meter["worst_second"] for meter in meters),
        "core_pct": round(took.cpu_s / took.wall_s * 100),
        "server_core_pct": round(served_s / took.wall_s * 100),
        "peak_mb": round(took.peak_mb, 1),
    }


def main(small: bool = False) -> dict[str, Any]:
    """Every size (small: 4 quotas), and the largest of which each quota holds."""
    found = [measure(4, 40)] if small else [measure(number, _ROWS_A_QUOTA) for number in QUOTAS]
    held = [row["quotas"] for row in found if row["of_cap_pct_worst"] >= HOLDS_PCT]
    return {"held": max(held, default=0), "rows": found}


async def _serve() -> None:
    """The strict simulator for any SecretId, until stdin ends; without the pauses of a collector,
    which no cloud would have."""
    from batchsnap.simulator.scenario import preset
    from batchsnap.simulator.server import serve

    gc.disable()
    async with serve(preset("strict"), credentials={"*": SECRET_KEY}) as simulator:
        print(simulator.url, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        asyncio.run(_serve())
    else:
        alone(main, __doc__)
