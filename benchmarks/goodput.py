"""One quota against the strict simulator: ours beside what people write instead.

The simulator refuses the 21st call in any second and answers after 120 ms (median). `of_cap_pct`
is what was made of what the cap allows between the first and the last snapshot, where all rows
were; `wall_s` is the whole process, for ours with start-up, ledger and the second in which a
process may not start. Each contender has a simulator of its own; a few run side by side, they take
a few percent of a core.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import CAP_PER_S, Cost, alone, cost
from benchmarks.contenders import CONTENDERS, missing
from tests.process import Cloud, simulator, write_fleet

OURS = "batchsnap"
ROWS = (400, 2000)
ROWS_SMALL = (20,)
SMALL = (OURS, "SDK, 8 threads", "AsyncLimiter(1, 0.05)", "aiometer, 20/s")  # one of a kind
SIDE_BY_SIDE = 2


def _run(name: str, rows: int, url: str, folder: Path) -> Cost:
    if name != OURS:
        return cost(["-m", "benchmarks.contenders", name, url, str(rows)], folder)
    write_fleet(folder, rows)
    return cost(["-m", "batchsnap", "run", "fleet.csv", "--yes", "-q", "--endpoint", url], folder)


def _figures(name: str, rows: int, took: Cost, cloud: Cloud) -> dict[str, Any]:
    """One contender's line, by what the cloud saw."""
    state = cloud.state()
    quota = next(q for q in state["quotas"] if q["action"] == "CreateSnapshot")
    made = sorted(snapshot["made_at"] for snapshot in state["snapshots"])
    disks = {snapshot["disk_id"] for snapshot in state["snapshots"]}
    span_s, failed = made[-1] - made[0], rows - len(disks)
    return {
        "contender": name,
        "rows": rows,
        "ideal_s": rows / CAP_PER_S,
        "wall_s": round(took.wall_s, 1),
        "of_cap_pct": "-" if failed else round((rows - 1) / CAP_PER_S / span_s * 100, 1),
        "requests": quota["calls"],
        "throttled": quota["throttled"],
        "failed": failed,
        "duplicates": len(made) - len(disks),
        "worst_second": quota["worst_second"],
        "cpu_ms_a_request": round(took.cpu_s / quota["calls"] * 1e3, 2),
        "peak_mb": round(took.peak_mb, 1),
    }


def measure(name: str, *, rows: int) -> dict[str, Any]:
    """One contender against a simulator of its own."""
    with (
        tempfile.TemporaryDirectory() as place,
        simulator(Path(place), "--scenario", "strict") as cloud,
    ):
        took = _run(name, rows, cloud.url, Path(place))
        assert took.code == 0, (name, took.err)
        return _figures(name, rows, took, cloud)


def main(small: bool = False) -> dict[str, Any]:
    """Every contender that can run here, at each number of rows."""
    skipped = {name: why for name in CONTENDERS if (why := missing(name))}
    names = [OURS, *(name for name in CONTENDERS if name not in skipped)]
    if small:
        names = [name for name in names if name in SMALL]
    found: list[dict[str, Any]] = []
    with ThreadPoolExecutor(len(names) if small else SIDE_BY_SIDE) as pool:
        for rows in ROWS_SMALL if small else ROWS:
            found += pool.map(partial(measure, rows=rows), names)
    return {"cap_per_s": CAP_PER_S, "rows": found, "skipped": skipped}


if __name__ == "__main__":
    alone(main, __doc__)
