"""Growth: wall and peak memory of `run` as the manifest doubles, uncapped.

The real command as a process, with its durable ledger, at 16,000/s against a server that costs
next to nothing. Time should double with the rows; memory may grow by the index of keys alone.
Then peak memory of `wait` and `rollback` over a ledger whose rows are all accepted: they ask about
every row, 100 at a time and 20 questions a second, so their time is the cloud's. Then of `status`
over a ledger whose rows are all in doubt: what every command keeps of such a row.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from batchsnap.ledger.record import Record, row_record, stamp
from benchmarks.common import Cost, alone, cost, report, server
from tests.ledgers import BORN, header, request, write_records
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


def accepted_rows(rows: int, path: Path, url: str) -> Iterator[Record]:
    """A ledger of rows that were accepted and not seen ready."""
    yield {**header(path, rows), "endpoint": url}
    for number in range(rows):
        row, at = request(number, region="ap-guangzhou"), stamp(BORN + number / 20)
        yield row_record("intent", row, 1, at, snapshot_name=row.name)
        yield row_record("accepted", row, 1, at, snapshot_id=f"snap-{number:08x}")


def measure_after(command: str, rows: int) -> Cost:
    """One `wait` or `rollback` of so many rows to its end."""
    options = ("--yes",) if command == "rollback" else ()
    with tempfile.TemporaryDirectory() as place, server("cheap_server", "--asked") as (url, _):
        path = Path(place) / "fleet.jsonl"
        write_records(path, accepted_rows(rows, path, url))
        took = cost(["-m", "batchsnap", command, path.name, "-q", *options], Path(place))
        assert took.code == 0, took.err
        return took


def doubted_rows(rows: int, path: Path) -> Iterator[Record]:
    """A ledger of rows whose replies were all lost."""
    yield header(path, rows)
    lost = {"code": "fault.timeout", "message": "no reply within 30 s", "verdict": "IN_DOUBT"}
    for number in range(rows):
        row, at = request(number, region="ap-guangzhou"), stamp(BORN + number / 20)
        yield row_record("intent", row, 1, at, snapshot_name=f"batchsnap-{row.key}-0badcafe")
        yield row_record("in_doubt", row, 1, at, **lost, sent_at=at, latency_ms=30001.5)


def measure_doubted(rows: int) -> Cost:
    """One `status` of so many rows in doubt: what every command keeps of them."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "fleet.jsonl"
        write_records(path, doubted_rows(rows, path))
        took = cost(["-m", "batchsnap", "status", path.name], Path(place))
        assert took.code == 0, took.err
        return took


def main(small: bool = False, sizes: tuple[int, ...] = ROWS) -> dict[str, Any]:
    """Each size once, with its ratio to the size before."""
    sizes = ROWS_SMALL if small else sizes
    found = growth("run", sizes, measure)
    for command in ("wait", "rollback"):
        found += growth(command, sizes, partial(measure_after, command))
    return {"rows": found + growth("status, all in doubt", sizes, measure_doubted)}


def growth(
    command: str, sizes: tuple[int, ...], measured: Callable[[int], Cost]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    before: tuple[int, Cost] | None = None
    for rows in sizes:
        took = measured(rows)
        line = {
            "command": command,
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
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rows"]:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--rows", type=int, nargs="+", help="sizes, ascending")
        print(report(main(sizes=tuple(parser.parse_args().rows))))
    else:
        alone(main, __doc__)
