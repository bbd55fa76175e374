"""All that a report tells, read from a ledger in one pass."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchsnap.errors import UsageError
from batchsnap.ledger.reading import records
from batchsnap.ledger.record import Record
from batchsnap.manifest.reader import Manifest
from batchsnap.model import DiskRow
from batchsnap.report.facts import RowFact, RowFacts
from batchsnap.report.figures import Series
from batchsnap.report.render import Reason, reasons_of
from batchsnap.report.summary import Summary, Summing


@dataclass(slots=True)
class Story:
    """A run as its ledger tells it."""

    path: Path
    digest: str  # sha256 of the ledger as it was read
    summary: Summary
    header: Record
    settings: dict[str, Any]
    manifest: dict[str, Any]
    finished: Record | None
    facts: RowFacts
    series: Series
    reasons: list[Reason]

    @property
    def began(self) -> str:
        return self.header.get("at", "")

    @property
    def rate_per_s(self) -> float:
        return float(self.settings.get("rate_per_s", 0))


def read_story(path: Path) -> Story:
    """Read a ledger, also while its run is going on.

    Raises:
        LedgerError: it can't be read.
    """
    summing, facts, series = Summing(), RowFacts(), Series()
    for record in records(path):
        summing.add(record)
        facts.add(record)
        series.add(record)
    facts.close(summing.fold)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    fold = summing.fold
    return Story(
        path=path,
        digest=digest,
        summary=summing.close(),
        header=fold.header,
        settings=fold.settings,
        manifest=fold.manifest,
        finished=fold.finished,
        facts=facts,
        series=series,
        reasons=reasons_of(summing.outcomes()),
    )


@dataclass(slots=True)
class Lines:
    """Facts in manifest order, with the manifest's own rows where it is still the same file."""

    facts: list[RowFact]
    rows: list[DiskRow]  # [] where the manifest is gone or changed
    note: str  # why the manifest was not used, "" if it was


def lines_of(story: Story) -> Lines:
    """One fact a manifest row: the manifest is read again by its path, if its digest is the
    recorded one; else what the ledger knows."""
    known = list(story.facts.by_key.values())
    name = str(story.manifest.get("path", ""))
    if name == "-":
        return Lines(
            known, [], "the manifest came from standard input: rows never tried are not listed"
        )
    try:
        manifest = Manifest.open(name)
    except UsageError:
        return Lines(known, [], f"the manifest {name} is gone: rows never tried are not listed")
    with manifest:
        if manifest.digest() != story.manifest.get("sha256"):
            note = f"the manifest {name} has changed since: rows never tried are not listed"
            return Lines(known, [], note)
        region = str(story.settings.get("region", ""))
        rows = [row for row in manifest.rows(region=region) if isinstance(row, DiskRow)]
    return Lines(list(story.facts.in_manifest_order(rows)), rows, "")
