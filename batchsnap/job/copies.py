"""The manifest of a run that copies: the ledger of the run that made the snapshots.

Its rows are those whose snapshot is ready, or that were skipped for a young one. Every record of a
copy names its source, so both ledgers can be read side by side.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from batchsnap.errors import LedgerForeign
from batchsnap.ledger.ports import Store
from batchsnap.ledger.record import Record
from batchsnap.ledger.replay import folded
from batchsnap.lifecycle import WORD, Event, State
from batchsnap.model import DiskRow, Problem

_HAS_ONE: dict[str, State] = {Event.ACCEPTED: State.READY, Event.SKIPPED: State.SKIPPED}
_NAMED = 5  # of the rows that are left out


def copies_at(ledger: str, to: str) -> Path:
    """Where the ledger of a ledger's copies lies."""
    return Path(f"{ledger}.copy-{to}.jsonl")


class CopyManifest:
    """What a `Manifest` is to a run, read from a ledger. `path`, `name`: the ledger's."""

    def __init__(self, store: Store, to: str) -> None:
        """Raises LedgerError where it can't be read, or is none of snapshots that can be copied."""
        self.path = self.name = store.label
        self.ignored: list[str] = []
        self.encoding_name, self.guessed_text = "utf-8", ""  # a ledger's is no guess
        self.warnings: list[str] = []
        self._store = store
        self._to = to
        self._fold = folded(store.records())
        header = self._fold.header
        if header.get("copy_to"):
            raise LedgerForeign(
                f"{self.name} is a ledger of copies: give the one whose snapshots these are"
            )
        self._header = header
        self.warnings += self._left_out()

    def endpoint_or(self, given: str) -> str:
        """The endpoint `given`, else that of the run that made the snapshots.

        Raises:
            LedgerForeign: there is none.
        """
        if not given and self._header["simulated"]:
            raise LedgerForeign(
                "the ledger is of a simulated run: its cloud is gone with the process"
            )
        return given or str(self._header["endpoint"])

    def rows(self, *, region: str = "") -> Iterator[DiskRow | Problem]:
        """A row for each snapshot that is there and not in the destination already."""
        found = False
        for number, record in enumerate(self._with_snapshot(), 1):
            if record["region"] == self._to:
                continue
            found = True
            yield DiskRow(
                line=number,
                disk_id=record["disk_id"] or "",
                disk_backup_id=record["disk_backup_id"] or "",
                region=record["region"] or region,
                profile=record["profile"] or "",
                snapshot_name="",
                deadline="",
                disk_usage="",
                tags=(),
                source_id=record["snapshot_id"],
            )
        if not found:
            yield Problem(self.name, 0, "", "no row has a snapshot that is ready: run wait first")

    def digest(self) -> str:
        """SHA-256 of the rows that are to be copied, in hex: the ledger may grow without them."""
        sha256 = hashlib.sha256()
        for record in self._with_snapshot():
            sha256.update(f"{record['key']} {record['snapshot_id']}\n".encode())
        return sha256.hexdigest()

    def close(self) -> None:
        """Nothing is held."""

    def _with_snapshot(self) -> Iterator[Record]:
        standing = self._fold.standing
        for record in self._store.records():
            state = _HAS_ONE.get(record["event"])
            if state is not None and standing(record["key"]).state is state:
                yield record

    def _left_out(self) -> list[str]:
        """What is not copied, and why."""
        said = []
        left = {key: cohort.standing.state for key, cohort in self._fold.cohorts.items()}
        words = Counter(WORD[state] for state in left.values() if state not in _HAS_ONE.values())
        for word, number in words.most_common():
            keys = (key for key, state in left.items() if WORD[state] == word)
            names = ", ".join(islice(keys, _NAMED)) + (", …" if number > _NAMED else "")
            said.append(f"{number:,} rows are {word}, not ready, and are left: {names}")
        unknown = int(self._fold.manifest.get("rows", 0)) - len(left)
        if unknown > 0:
            said.append(f"{unknown:,} rows were never tried and are left")
        there = sum(record["region"] == self._to for record in self._with_snapshot())
        if there:
            said.append(f"{there:,} snapshots are in {self._to} already and are left")
        return said
