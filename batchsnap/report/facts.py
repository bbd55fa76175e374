"""One line a row: what a run's ledger, and the manifest where it is still there, say of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from batchsnap.cloud.faults import remedy
from batchsnap.ledger.record import Record
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import HAS_SNAPSHOT, WORD, State
from batchsnap.model import DiskRow
from batchsnap.plan import key_of

_REMEDIES = {
    "pending": "nothing was executed: run the same command again",
    "in_doubt": "run the same command again: it is settled by asking",
    "vanished": "find out who deleted it; --failed lists it for a run of its own",
}
"""What to do about a row that carries no code."""


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
    snapshot_ids: str = ""  # of a row that was made twice: all of them
    source_id: str = ""  # the snapshot that this one is a copy of
    named: bool = False  # `snapshot_name` is the row's own, not the template's

    @property
    def remedy(self) -> str:
        """What to do about the row, "" where nothing is."""
        if self.snapshot_ids:
            return f"made twice, keep one: {self.snapshot_ids}"
        return remedy(self.state, self.code) if self.code else _REMEDIES.get(self.state, "")


class RowFacts:
    """Facts by key, in the order in which rows are first named."""

    def __init__(self) -> None:
        self.by_key: dict[str, RowFact] = {}
        self._same: dict[str, str] = {}  # texts that very many rows share, kept once

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
                self._once(record["region"] or ""),
                self._once(record["profile"] or ""),
                source_id=record.get("source_id", ""),
            )
        fact.at = record["at"]
        fact.attempts = max(fact.attempts, record["attempt"])
        fact.snapshot_name = record.get("snapshot_name", fact.snapshot_name)
        fact.snapshot_id = record.get("snapshot_id", fact.snapshot_id)
        if record["event"] == "intent":
            fact.request_id = ""  # of an earlier try; this one may never get one
            fact.named = fact.named or "baseline" in record
        fact.request_id = record.get("request_id", fact.request_id)
        fact.snapshot_ids = " ".join(record.get("snapshot_ids", ())) or fact.snapshot_ids
        if not record.get("final"):  # the last question takes no reason away
            fact.code = self._once(record.get("code", ""))
            fact.message = self._once(record.get("message", ""))

    def _once(self, text: str) -> str:
        return self._same.setdefault(text, text)

    def close(self, fold: Fold) -> None:
        """Give each row the word for where it stands."""
        for key, fact in self.by_key.items():
            state = fold.standing(key).state
            fact.state = WORD[state]
            if state in HAS_SNAPSHOT:  # an older refusal is no news
                fact.code = fact.message = ""

    def in_manifest_order(self, rows: Iterable[DiskRow], *, profile: str) -> Iterator[RowFact]:
        """A fact for every row of the manifest, unsent ones too; `profile` is the run's."""
        for row in rows:
            key = key_of(row.disk_id, row.disk_backup_id)
            yield self.by_key.get(key) or RowFact(
                key, row.disk_id, row.disk_backup_id, row.region, row.profile or profile
            )
