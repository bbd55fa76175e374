"""One line a row: what a run's ledger, and the manifest where it is still there, say of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from batchsnap.cloud.faults import hint
from batchsnap.ledger.record import Record
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import WORD, State
from batchsnap.model import DiskRow, Problem
from batchsnap.plan import key_of

FAILED = frozenset({"rejected", "gave_up", "vanished"})


@dataclass(slots=True)
class RowFact:
    """A row of the report; absent text is ""."""

    key: str
    disk_id: str
    disk_backup_id: str
    region: str
    profile: str
    state: str = WORD[State.PENDING]
    snapshot_id: str = ""
    snapshot_name: str = ""
    attempts: int = 0
    request_id: str = ""
    code: str = ""
    message: str = ""
    at: str = ""

    @property
    def remedy(self) -> str:
        """What to do about the row, "" where nothing is."""
        return hint(self.code) if self.code else ""


class RowFacts:
    """Facts by key, in the order in which rows are first named."""

    def __init__(self) -> None:
        self.by_key: dict[str, RowFact] = {}

    def add(self, record: Record) -> None:
        """Take what a record says of its row."""
        if "key" not in record:
            return
        fact = self.by_key.get(record["key"])
        if fact is None:
            fact = self.by_key[record["key"]] = RowFact(
                record["key"],
                record["disk_id"] or "",
                record["disk_backup_id"] or "",
                record["region"] or "",
                record["profile"] or "",
            )
        fact.at = record["at"]
        fact.attempts = max(fact.attempts, record["attempt"])
        fact.snapshot_name = record.get("snapshot_name", fact.snapshot_name)
        fact.snapshot_id = record.get("snapshot_id", fact.snapshot_id)
        fact.request_id = record.get("request_id", fact.request_id)
        fact.code = record.get("code", "")
        fact.message = record.get("message", "")

    def close(self, fold: Fold) -> None:
        """Give each row the word for where it stands."""
        for key, fact in self.by_key.items():
            fact.state = WORD[fold.standing(key).state]

    def in_manifest_order(self, rows: Iterable[DiskRow | Problem]) -> Iterator[RowFact]:
        """A fact for every valid row of the manifest, unsent ones too."""
        for row in rows:
            if isinstance(row, Problem):
                continue
            key = key_of(row.disk_id, row.disk_backup_id)
            yield self.by_key.get(key) or RowFact(
                key, row.disk_id, row.disk_backup_id, row.region, row.profile
            )
