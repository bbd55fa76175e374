"""Bench: the ledger, records made durable per second, and its replay against its floor.

    python -m benchmarks.ledger [--records N] [--folder PATH]

`alone` is one writer that waits for each record, `64 together` is 64 that share syncs, `bare
fdatasync` what the disk does with one such line and no more. Replay is what opening a ledger
does; its floor is a loop that parses each line, holds it against its crc and counts its number,
without a fold. Each contender runs in a process of its own, over the same file, in turn, and the
best of the rounds counts. To reach: replay at most 1.35 times the floor, and a peak of 120 MB for a
million records.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import anyio
import orjson

from batchsnap.ledger.reading import records
from batchsnap.ledger.record import VERSION, Record, encode, row_record, stamp
from batchsnap.ledger.replay import Fold
from batchsnap.ledger.store import Ledger
from batchsnap.model import PlannedRequest

ROUNDS = 5
FLOOR = "parse, check, number"
TOGETHER = 64
_REGIONS = ("ap-guangzhou", "ap-singapore", "eu-frankfurt", "na-siliconvalley")
_BORN = 1_795_000_000.0
_GROUP = 20  # records that one sync of the written ledger covers


def _header(rows: int) -> Record:
    return {
        "v": VERSION,
        "event": "run",
        "run_id": "9f86d081884c7d65",
        "tool": "batchsnap/bench",
        "manifest": {"path": "fleet.csv", "sha256": "0" * 64, "rows": rows},
        "endpoint": "https://cbs.intl.tencentcloudapi.com",
        "simulated": False,
        "settings": {},
        "at": stamp(_BORN),
    }


def _row(number: int) -> PlannedRequest:
    disk = f"disk-{number:08x}"
    return PlannedRequest(
        key=disk,
        line=number + 2,
        disk_id=disk,
        disk_backup_id="",
        region=_REGIONS[number % len(_REGIONS)],
        profile="production",
        name=f"before-migration-{disk}-20261124-{number * 2654435761 % 2**32:08x}",
        named=False,
        deadline="",
        disk_usage="",
        tags=(),
    )


def _pair(number: int, rand: random.Random) -> tuple[Record, Record]:
    """The intent and the outcome of one row."""
    row, at = _row(number), _BORN + number / 20
    request_id = f"{rand.getrandbits(128):032x}"
    intent = row_record("intent", row, 1, stamp(at), snapshot_name=row.name)
    accepted = row_record(
        "accepted",
        row,
        1,
        stamp(at + 0.4),
        snapshot_id=f"snap-{rand.getrandbits(32):08x}",
        request_id=f"{request_id[:8]}-{request_id[8:12]}-{request_id[12:16]}-{request_id[16:]}",
        sent_at=stamp(at + 0.05),
        latency_ms=round(rand.uniform(80, 400), 1),
    )
    return intent, accepted


def write_ledger(path: Path, count: int) -> None:
    """A finished run of `count` row records, the same for the same count."""
    rand = random.Random(20)
    with path.open("wb") as file:
        file.write(encode(_header(count // 2)))
        for seq in range(1, count + 1, 2):
            for offset, record in enumerate(_pair(seq // 2, rand)):
                at = seq + offset
                synced = max(0, (at - 1) // _GROUP * _GROUP)
                file.write(encode({"seq": at, "synced": synced, **record}))


def _bare(path: str) -> int:
    count = 0
    with Path(path).open("rb", buffering=1 << 20) as file:
        for line in file:
            orjson.loads(line)
            count += 1
    return count


def _bare_crc(path: str) -> int:
    count = 0
    with Path(path).open("rb", buffering=1 << 20) as file:
        for line in file:
            orjson.loads(line)
            crc32(line)
            count += 1
    return count


def _floor(path: str) -> int:
    """Each line parsed, held against its crc and its number, and no more: no fold, no recovery."""
    count = 0
    with Path(path).open("rb", buffering=1 << 20) as file:
        for line in file:
            body, _, tail = line.rpartition(b',"crc":')
            record = orjson.loads(line)
            assert tail == b"%d}\n" % crc32(b"}", crc32(body))
            assert record.get("seq", 0) == count
            count += 1
    return count


def _read(path: str) -> int:
    count = 0
    for _record in records(Path(path)):
        count += 1
    return count


def _replay(path: str) -> int:
    fold = Fold()
    for record in records(Path(path)):
        fold.apply(record)
    return 2 * sum(fold.counts.values()) + 1


def _open(path: str) -> int:
    ledger = Ledger.open(Path(path))
    ledger.release()
    return 2 * sum(ledger.fold.counts.values()) + 1


_CONTENDERS: dict[str, Callable[[str], int]] = {
    "orjson.loads": _bare,  # the loop to compare with
    "loads + crc32": _bare_crc,
    FLOOR: _floor,  # the least that a checked line costs
    "scan": _read,  # parsed, held against its crc, numbered
    "scan + fold": _replay,  # the same, and where every row stands
    "Ledger.open": _open,  # all that a resume does
}


def _child(name: str, path: str) -> None:
    began = time.perf_counter()
    count = _CONTENDERS[name](path)
    seconds = time.perf_counter() - began
    print(json.dumps({"count": count, "seconds": seconds, "peak_mb": _peak_mb()}))


def _peak_mb() -> float:
    """The peak of this process. Linux's `ru_maxrss` begins with the parent's, so its own
    high-water mark is read where there is one."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB, bytes on macOS
        return peak / (1e6 if sys.platform == "darwin" else 1e3 / 1.024)


def _replays(folder: Path, count: int) -> dict[str, Any]:
    path = folder / "replay.jsonl"
    write_ledger(path, count)
    best: dict[str, dict[str, float]] = {}
    for _round in range(ROUNDS):
        for name in _CONTENDERS:
            command = [sys.executable, "-m", "benchmarks.ledger", "--child", name, str(path)]
            said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            assert said["count"] == count + 1, f"{name} met {said['count']} records"
            if name not in best or said["seconds"] < best[name]["seconds"]:
                best[name] = said
    floor_s = best[FLOOR]["seconds"]
    return {
        "records": count,
        "bytes a line": round(path.stat().st_size / (count + 1)),
        **{
            name: {
                "seconds": round(said["seconds"], 3),
                "µs a record": round(said["seconds"] / count * 1e6, 2),
                "of the floor": round(said["seconds"] / floor_s, 2),
                "peak MB": round(said["peak_mb"], 1),
            }
            for name, said in best.items()
        },
    }


async def _durable_per_s(path: Path, writers: int, seconds: float) -> float:
    """Records made durable per second by writers that each wait for their own."""
    ledger = Ledger.create(path, _header(0))
    done = 0

    async def write(first: int) -> None:
        nonlocal done
        number = first
        while time.perf_counter() < until:
            row = _row(number)
            record = row_record("intent", row, 1, stamp(_BORN), snapshot_name=row.name)
            await ledger.durable(ledger.append(record))
            done += 1
            number += writers

    async with anyio.create_task_group() as committing:
        committing.start_soon(ledger.commit)
        began = time.perf_counter()
        until = began + seconds
        async with anyio.create_task_group() as tasks:
            for first in range(writers):
                tasks.start_soon(write, first)
        took = time.perf_counter() - began
        ledger.close()
    ledger.release()
    return done / took


def _fdatasyncs_per_s(path: Path, seconds: float) -> float:
    """What the disk does alone: one line written and synced at a time, no thread, no task."""
    line = encode(_pair(0, random.Random(20))[0])
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    began = time.perf_counter()
    done = 0
    while time.perf_counter() - began < seconds:
        os.write(fd, line)
        os.fdatasync(fd)
        done += 1
    took = time.perf_counter() - began
    os.close(fd)
    return done / took


def main(
    records_total: int = 1_000_000, folder: Path | None = None, seconds: float = 2.0
) -> dict[str, Any]:
    """Measures both; the files go to a temporary folder inside `folder`."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        return {
            "durable records/s": {
                "bare fdatasync": round(_fdatasyncs_per_s(place / "bare.jsonl", seconds)),
                "alone": round(anyio.run(_durable_per_s, place / "one.jsonl", 1, seconds)),
                f"{TOGETHER} together": round(
                    anyio.run(_durable_per_s, place / "many.jsonl", TOGETHER, seconds)
                ),
            },
            "replay": _replays(place, records_total),
        }


def shown(result: dict[str, Any]) -> str:
    lines = ["records made durable per second"]
    lines += [f"  {name:<20}{value:>10,}" for name, value in result["durable records/s"].items()]
    replay = result["replay"]
    lines.append(f"replay of {replay['records']:,} records, {replay['bytes a line']} bytes a line")
    columns = list(replay["orjson.loads"])
    lines.append(" " * 24 + "".join(column.rjust(14) for column in columns))
    for name in _CONTENDERS:
        lines.append(f"  {name:<22}" + "".join(str(replay[name][c]).rjust(14) for c in columns))
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the files go: the disk to measure")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child(*options.child)
    else:
        outcome = main(options.records, options.folder)
        print(shown(outcome))
        print(json.dumps(outcome, ensure_ascii=False))
