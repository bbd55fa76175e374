"""All that a report tells, read from a ledger in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchsnap.errors import UsageError
from batchsnap.ledger.ports import Store
from batchsnap.ledger.record import Record
from batchsnap.ledger.replay import Fold
from batchsnap.manifest.reader import Manifest
from batchsnap.model import DiskRow
from batchsnap.report.facts import RowFact, RowFacts
from batchsnap.report.figures import Marks, TimeSeries
from batchsnap.report.summary import Summary, outcomes_of, summary_of
from batchsnap.report.text import Reason, reasons_of


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
    fold, facts, series, marks = Fold(), RowFacts(), TimeSeries(), Marks()
    count, as_of = 0, ""
    for record in store.records():
        count, as_of = count + 1, record.get("at", as_of)
        marks.add(record)
        fold.apply(record)
        facts.add(record)
        series.add(record)
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
