"""The makers of small ledgers: a birth, rows, and records of their lives."""

from __future__ import annotations

from typing import Any

from batchsnap.ledger.record import VERSION, Record, encode, row_record
from batchsnap.lifecycle import TABLE
from batchsnap.model import PlannedRequest

MOVES = sorted({move for moves in TABLE.values() for move in moves})
AT = "2026-11-24T08:16:13.042Z"


def row(number: int, **values: Any) -> PlannedRequest:
    """The number-th row of a fleet."""
    disk = f"disk-{number:08x}"
    plain = PlannedRequest(disk, 1, disk, "", "r", "", f"n-{number}", False, "", "", ())
    return plain._replace(**values)


def birth(**values: Any) -> Record:
    """A `run` record."""
    header: dict[str, Any] = {
        "v": VERSION,
        "event": "run",
        "run_id": "0f",
        "tool": "batchsnap/0",
        "manifest": {"rows": 3},
        "endpoint": "https://cbs",
        "simulated": False,
        "settings": {},
        "at": AT,
        **values,
    }
    return header  # type: ignore[return-value]


def moved(event: str, number: int = 1, **details: Any) -> Record:
    """A record of the number-th row."""
    return row_record(event, row(number), 1, AT, **details)


def lines_of(records: list[Record], synced: list[int] | None = None) -> list[bytes]:
    """The lines of a ledger: a birth and these records, each with what it declares durable."""
    declared = synced or [0] * len(records)
    return [
        encode(birth()),
        *(
            encode({"seq": seq, "synced": known, **record})
            for seq, (record, known) in enumerate(zip(records, declared, strict=True), 1)
        ),
    ]


def record_of(move: str, number: int) -> Record:
    """A record that makes this move."""
    if move in {"found", "absent", "asked"}:
        return moved("settled", number, found=move != "absent", final=move == "asked" or None)
    details: dict[str, Any] = {"intent": {"snapshot_name": f"n-{number}"}}
    return moved(move, number, **details.get(move, {"code": "some.code", "message": "why"}))
