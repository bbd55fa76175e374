"""Growth: wall and peak memory of `run` as the manifest doubles, uncapped.

The real command as a process, with its durable ledger, at 16,000/s against a server that costs
next to nothing. Time should double with the rows; memory may grow by the index of keys alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import Cost, alone, cost, report, server
from tests.process import write_fleet

ROWS = (20_000, 40_000, 80_000)
ROWS_SMALL = (500, 1000)
_UNCAPPED = ("--rate", "16000", "--api-limit", "16000")


def measure(rows: int) -> Cost:
    """One run of so many rows to its end."""
    with tempfile.TemporaryDirectory() as place, server("cheap_server") as (url, _):
        write_fleet(Path(place), rows)
        command = ["-m", "batchsnap", "run", "fleet.csv", "-q", "--endpoint", url, *_UNCAPPED]
        took = cost(command, Path(place))
        assert took.code == 0, took.err
        return took


def main(small: bool = False, sizes: tuple[int, ...] = ROWS) -> dict[str, Any]:
    """Each size once, with its ratio to the size before."""
    found: list[dict[str, Any]] = []
    before: tuple[int, Cost] | None = None
    for rows in ROWS_SMALL if small else sizes:
        took = measure(rows)
        line = {
            "rows": rows,
            "wall_s": round(took.wall_s, 1),
            "cpu_us_a_row": round(took.cpu_s / rows * 1e6),
            "peak_mb": round(took.peak_mb, 1),
            "rows_times": "",
            "cpu_times": "",
            "bytes_a_row": "",
        }
        if before is not None:
            fewer, then = before
            line["rows_times"] = round(rows / fewer, 2)
            line["cpu_times"] = round(took.cpu_s / then.cpu_s, 2)
            line["bytes_a_row"] = round((took.peak_mb - then.peak_mb) * 1e6 / (rows - fewer))
        found.append(line)
        before = rows, took
    return {"rows": found}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rows"]:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--rows", type=int, nargs="+", help="sizes, ascending")
        print(report(main(sizes=tuple(parser.parse_args().rows))))
    else:
        alone(main, __doc__)
