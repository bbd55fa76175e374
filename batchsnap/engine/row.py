"""What the engine remembers of a row that is not at rest."""

from __future__ import annotations

from batchsnap.ledger.record import Record
from batchsnap.model import PlannedRequest, Ruling
from batchsnap.retry import Tries


class Row:
    """One row on its way. Dropped as soon as it is at rest."""

    __slots__ = (
        *("attempt", "baseline", "doubt_since", "last", "rejection", "request", "snapshot_id"),
        "tries",
    )

    def __init__(self, request: PlannedRequest, intent: Record | None = None) -> None:
        """`intent` is the row's latest one in the ledger: its name and baseline stay in force,
        because the snapshot to look for bears that name."""
        self.request = request
        self.attempt = 0
        self.tries = Tries()
        self.last: Ruling | None = None  # what its latest doubt came from
        self.rejection: Ruling | None = None  # a refusal that waits for an old doubt to settle
        self.doubt_since = 0.0  # monotonic; no doubted attempt left later than this
        self.snapshot_id = ""  # what this process saw it being given
        self.baseline: list[str] | None = None
        if intent is not None:
            self.attempt = intent["attempt"]
            self.baseline = intent.get("baseline")
            self.request = request._replace(
                name=intent["snapshot_name"],
                named=self.baseline is not None,
                disk_id=intent["disk_id"] or request.disk_id,
            )

    @property
    def key(self) -> str:
        return self.request.key

    @property
    def disk_id(self) -> str:
        return self.request.disk_id


def request_of(record: Record) -> PlannedRequest:
    """The part of a request that a record kept: enough to settle or to await it, not to send
    it, which `line` 0 says. Only an intent has the name."""
    return PlannedRequest(
        key=record["key"],
        line=0,
        disk_id=record["disk_id"] or "",
        disk_backup_id=record["disk_backup_id"] or "",
        region=record["region"] or "",
        profile=record["profile"] or "",
        name=record.get("snapshot_name", ""),
        named="baseline" in record,
        deadline="",
        disk_usage="",
        tags=(),
    )
