"""All that a report tells, read from a ledger in one pass: the run's story, and one line a row,
with what the manifest says of it where that is still there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchsnap.cloud.faults import remedy
from batchsnap.errors import UsageError
from batchsnap.ledger.ports import Store
from batchsnap.ledger.record import Record, of_whole_run, unstamp
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import HAS_SNAPSHOT, WORD, Event, State
from batchsnap.manifest.reader import Manifest
from batchsnap.model import DiskRow
from batchsnap.owners.parts import Parts
from batchsnap.owners.quotas import QuotaLine
from batchsnap.plan import key_of
from batchsnap.report.figures import Marks, TimeSeries
from batchsnap.report.summary import Reason, Summary, outcomes_of, reasons_of, summary_of

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
        if record["event"] == Event.INTENT:
            fact.request_id = ""  # of an earlier try; this one may never get one
            fact.named = fact.named or "baseline" in record
        fact.request_id = record.get("request_id", fact.request_id)
        fact.snapshot_ids = " ".join(record.get("snapshot_ids", ())) or fact.snapshot_ids
        # The last question takes no reason away, and a brake gives none.
        if not record.get("final") and not of_whole_run(record):
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


@dataclass(slots=True)
class Story:
    """A run as its ledger tells it."""

    store: Store
    records: int  # lines of the ledger that were read
    digest: str  # sha256 of these lines
    summary: Summary
    header: Record
    settings: dict[str, Any]
    manifest: dict[str, Any]
    finished: Record | None
    facts: RowFacts
    series: TimeSeries
    marks: Marks
    as_of: str  # when the latest record was written
    reasons: list[Reason]
    quotas: list[QuotaLine]  # none where it is in one piece

    @property
    def began(self) -> str:
        return self.header.get("at", "")

    @property
    def own_files(self) -> list[Path]:
        """What no report may be written over."""
        name = str(self.manifest.get("path", "-"))
        return [*self.store.own_files, *([] if name == "-" else [Path(name)])]


def read_story(store: Store) -> Story:
    """Read a ledger, also while its run is going on.

    Raises:
        LedgerError: it can't be read.
    """
    parts, facts, series, marks = Parts(), RowFacts(), TimeSeries(), Marks()
    count, as_of = 0, ""
    for record in store.records():
        count, as_of = count + 1, record.get("at", as_of)
        marks.add(record)
        if (takeover := parts.apply(record)) is not None:
            marks.take_over(takeover)
        facts.add(record)
        series.add(record)
    fold = parts.fold
    facts.close(fold)
    return Story(
        store=store,
        records=count,
        digest=store.digest(count),
        summary=summary_of(fold),
        header=fold.header,
        settings=fold.settings,
        manifest=fold.manifest,
        finished=fold.ended,
        facts=facts,
        series=series,
        marks=marks,
        as_of=as_of,
        reasons=reasons_of(outcomes_of(fold)),
        quotas=parts.now(store.parts(), unstamp(as_of)) if as_of else [],
    )


@dataclass(slots=True)
class Lines:
    """Facts in manifest order, with the manifest's own rows where it is still the same file."""

    facts: list[RowFact]
    rows: list[DiskRow]  # [] where the manifest is gone or changed
    note: str  # what is missing and why, "" where nothing is


def lines_of(story: Story) -> Lines:
    """One fact a manifest row: the manifest is read again by its path, if its digest is the
    recorded one; else what the ledger knows."""
    name = str(story.manifest.get("path", ""))
    if "copy_to" in story.header:
        known = list(story.facts.by_key.values())
        left = story.manifest.get("rows", 0) - len(known)
        return Lines(known, [], f"{left:,} rows never tried are not listed" if left > 0 else "")
    if name == "-":
        return _without_manifest(story, "the manifest came from standard input")
    try:
        manifest = Manifest.open(name)
    except UsageError:
        return _without_manifest(story, f"the manifest {name} is gone")
    rows: list[DiskRow] = []
    with manifest:
        if manifest.digest() != story.manifest.get("sha256"):
            return _without_manifest(story, f"the manifest {name} has changed since")
        for row in manifest.rows(region=str(story.settings.get("region", ""))):
            if not isinstance(row, DiskRow):  # as with --encoding, which the ledger does not keep
                return _without_manifest(story, f"the manifest {name} can't be read again ({row})")
            rows.append(row)
    profile = str(story.settings.get("profile", ""))
    facts = list(story.facts.in_manifest_order(rows, profile=profile))
    keys = {fact.key for fact in facts}
    earlier = sum(key not in keys for key in story.facts.by_key)
    note = f"{earlier:,} rows of an earlier manifest are not listed" if earlier else ""
    return Lines(facts, rows, note)


def _without_manifest(story: Story, why: str) -> Lines:
    known = list(story.facts.by_key.values())
    return Lines(known, [], f"{why}: rows never tried are not listed")
