"""Ledgers made up for tests: every kind of row, as many as wanted, through the real codec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from batchsnap.ledger.record import Record, encode, row_record, stamp
from batchsnap.model import PlannedRequest

BORN = 1_795_500_000.0
REGIONS = ("ap-guangzhou", "ap-tokyo", "eu-frankfurt")


def request(number: int, **values: Any) -> PlannedRequest:
    key = f"disk-{number:08x}"
    region = REGIONS[number % len(REGIONS)]
    plain = PlannedRequest(key, number, key, "", region, "", f"n-{key}", False, "", "", ())
    return plain._replace(**values)


def write_ledger(
    path: Path, rows: int, *, message: str = "", name: str = "", finished: bool = True
) -> Path:
    """Every 50th row was throttled first, every 70th lost its reply, every 90th was rejected."""
    seq = 0
    with path.open("wb") as file:

        def put(record: Record) -> None:
            nonlocal seq
            seq += 1
            file.write(encode({"seq": seq, "synced": seq - 1, **record}))

        header: Record = {
            "v": 1,
            "event": "run",
            "run_id": "20261124-000000-abcd",
            "tool": "batchsnap/test",
            "manifest": {"path": str(path.parent / "gone.csv"), "sha256": "0" * 64, "rows": rows},
            "endpoint": "https://cbs.intl.tencentcloudapi.com",
            "simulated": False,
            "settings": {"rate_per_s": 20.0},
            "at": stamp(BORN),
        }
        file.write(encode(header))
        for number in range(rows):
            row = request(number)
            at = BORN + 1 + number * 0.0503

            def note(event: str, late: float, row: Any = row, at: float = at, **more: Any) -> None:
                sent = {"sent_at": stamp(at), "latency_ms": 118.5} if "verdict" in more else {}
                put(row_record(event, row, 1, stamp(at + late), **more, **sent))

            code = {"code": "x", "message": message or "why", "request_id": f"req-{number:032x}"}
            note("intent", 0, snapshot_name=name or row.name)
            if number % 90 == 89:
                code["code"] = "InvalidDisk.NotSupported"
                note("rejected", 0.1, **code, verdict="REJECTED")
                continue
            if number % 50 == 49:
                code["code"] = "RequestLimitExceeded"
                note("deferred", 0.1, **code, verdict="THROTTLED", not_before=stamp(at + 1))
                note("intent", 1.2, snapshot_name=name or row.name)
            if number % 70 == 69:
                note("in_doubt", 0.1, code="fault.reset", message="reset", verdict="IN_DOUBT")
                note("settled", 5, found=True, snapshot_id=f"snap-{number:08x}", evidence="e")
                note("accepted", 5, snapshot_id=f"snap-{number:08x}")
                continue
            sent = {"sent_at": stamp(at), "latency_ms": 118.5}
            made = {"snapshot_id": f"snap-{number:08x}", "request_id": f"req-{number:032x}"}
            put(row_record("accepted", row, 1, stamp(at + 0.12), **made, **sent))
        if finished:
            put({"event": "finished", "at": stamp(BORN + rows), "exit": 1})
    return path
