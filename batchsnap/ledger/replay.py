"""From lines to where every row stands: the scan that tells torn from damaged, and the fold.

The fold keeps one shared `Place` a row (there are few different ones), and whole records only of
rows that are not at rest, so its memory is a dictionary entry and a key for each row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from zlib import crc32

import orjson

from batchsnap.errors import LedgerDamaged, LedgerForeign
from batchsnap.ledger.record import RUN_EVENTS, VERSION, Record, decode
from batchsnap.lifecycle import DONE, NEW, Standing, State, step

_loads = orjson.loads


class Scan:
    """Records of a ledger, line by line, up to the first damage.

    After the iteration: `end` is the byte offset behind the last good record, `last_seq` its
    number, `synced` the highest seq that any record declared durable, `damaged` whether anything
    lies behind `end`.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = lines
        self.end = 0
        self.last_seq = -1
        self.synced = 0
        self.damaged = False

    def __iter__(self) -> Iterator[Record]:
        """Yield the good records.

        Raises:
            LedgerDamaged: a record that was known durable is damaged or missing.
        """
        end, expected, synced = 0, 0, 0
        lines = iter(self._lines)
        for line in lines:
            try:
                record = _loads(line)
                body = line[: line.rindex(b',"crc":')]
                if record["crc"] != crc32(b"}", crc32(body)) or line[-1] != 10:
                    break
                if expected:
                    if record["seq"] != expected:
                        break
                    if record["synced"] > synced:  # noqa: PLR1730 - a call here costs a tenth
                        synced = record["synced"]
            except (ValueError, TypeError, KeyError, IndexError):
                break
            expected += 1
            end += len(line)
            yield record
        else:
            self.end, self.last_seq, self.synced = end, expected - 1, synced
            return
        self.end, self.last_seq, self.synced = end, expected - 1, synced
        self.damaged = True
        durable = max(synced, self._highest_synced(lines))
        if durable >= expected or expected == 0:
            raise LedgerDamaged(
                f"damaged at byte {end}: record {expected} was durable and can't be read. Nothing "
                "was sent. Put a good copy of the file in its place; do not edit it"
            )

    @staticmethod
    def _highest_synced(lines: Iterable[bytes]) -> int:
        records = (decode(line) for line in lines)
        return max((int(r.get("synced", 0)) for r in records if r), default=0)


def headed(scan: Iterable[Record]) -> Iterator[Record]:
    """The records, once the first is known to be a `run` of a version we can read.

    Raises:
        LedgerForeign: it is not.
        LedgerDamaged: as `Scan` does.
    """
    records = iter(scan)
    header = next(records, None)
    if header is None:
        raise LedgerForeign("the file is empty: it is no batchsnap ledger")
    if header.get("event") != "run":
        raise LedgerForeign("the file is no batchsnap ledger: its first line is no `run` record")
    if header.get("v") != VERSION:
        raise LedgerForeign(
            f"the ledger has version {header.get('v')}, this batchsnap reads {VERSION}: "
            "use the batchsnap that wrote it"
        )
    yield header
    yield from records


def move_of(record: Record) -> str:
    """The record's move in `lifecycle.TABLE`."""
    event = record["event"]
    if event != "settled":
        return event
    if record.get("final"):
        return "asked"
    return "found" if record["found"] else "absent"


class Place:
    """Where some rows stand: a standing in one region of one profile. All its rows share it."""

    __slots__ = ("at_rest", "next", "profile", "region", "rows", "standing")

    def __init__(self, standing: Standing, region: str | None, profile: str | None) -> None:
        self.standing = standing
        self.region = region
        self.profile = profile
        self.rows = 0
        self.at_rest = standing.state in DONE and not standing.owed
        self.next: dict[str, Place] = {}


class Fold:
    """Where every row stands, and what the run is: the sum of the records applied so far."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.intents: dict[str, Record] = {}  # latest intent of rows not at rest
        self.latest: dict[str, Record] = {}  # latest record of rows not at rest
        self.backup_disks: set[str] = set()  # disks that a row with a backup point is on
        self.header: Record = {}
        self.settings: dict[str, Any] = {}
        self.manifest: dict[str, Any] = {}
        self.gone: frozenset[str] = frozenset()  # keys that the newest manifest lacks
        self.finished: Record | None = None
        self._all: dict[tuple[Standing, str | None, str | None], Place] = {}

    def apply(self, record: Record) -> None:
        """Fold one record in.

        Raises:
            IllegalMove: the row's life does not allow it; nothing has changed.
        """
        event = record["event"]
        if event in RUN_EVENTS:
            self._apply_run(record)
            return
        key = record["key"]
        old = self.places.get(key)
        if old is None:
            old = self._place(NEW, record["region"], record["profile"])
            old.rows += 1
        move = event if event != "settled" else move_of(record)
        new = old.next.get(move)
        if new is None:
            new = self._place(step(old.standing, move), old.region, old.profile)
            old.next[move] = new
        old.rows -= 1
        new.rows += 1
        self.places[key] = new
        if new.at_rest:
            self.intents.pop(key, None)
            self.latest.pop(key, None)
            return
        self.latest[key] = record
        if event == "intent":
            self.intents[key] = record
            if record["disk_backup_id"] is not None:
                self.backup_disks.add(record["disk_id"] or "")

    def _place(self, standing: Standing, region: str | None, profile: str | None) -> Place:
        place = self._all.get((standing, region, profile))
        if place is None:
            place = self._all[standing, region, profile] = Place(standing, region, profile)
        return place

    def _apply_run(self, record: Record) -> None:
        if record["event"] == "finished":
            self.finished = record
            return
        if record["event"] == "run":
            self.header = record
        self.finished = None
        self.settings.update(record.get("settings", {}))
        self.manifest = record.get("manifest", self.manifest)
        self.gone = frozenset(self.manifest.get("gone", ()))

    def standing(self, key: str) -> Standing:
        """Where a row stands; a row that no record names is new."""
        place = self.places.get(key)
        return NEW if place is None else place.standing

    @property
    def counts(self) -> dict[State, int]:
        """Rows by state, of all rows that a record names."""
        counts = dict.fromkeys(State, 0)
        for place in self._all.values():
            counts[place.standing.state] += place.rows
        return counts

    @property
    def owed(self) -> int:
        """Rows that were sent again and still wait for their last question."""
        return sum(place.rows for place in self._all.values() if place.standing.owed)
