"""From lines to where every row stands: the scan that tells torn from damaged, and the fold.

The fold keeps one shared `Place` a row (there are few different ones), and whole records only of
rows that are not at rest, so its memory is a dictionary entry and a key for each row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from batchsnap.errors import IllegalMove, LedgerDamaged, LedgerForeign
from batchsnap.ledger.record import RUN_EVENTS, VERSION, Home, Record, decode
from batchsnap.lifecycle import DONE, ENDED, MOVES, NEW, Standing, State, step


class Scan:
    """Records of a ledger, line by line, up to the first damage.

    After the iteration: `end` is the byte offset behind the last good record, `last_seq` its
    number, `synced` the highest seq that any record declared durable, `damaged` whether anything
    lies behind `end`.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self.end = 0
        self.last_seq = -1
        self.synced = 0
        self.damaged = False

    def __iter__(self) -> Iterator[Record]:
        """Yield the good records, the `run` record first.

        Raises:
            LedgerForeign: the first is no `run` record of a version we can read.
            LedgerDamaged: a record that was known durable is damaged or missing.
        """
        first = next(self._lines, b"")
        yield _born(first)
        end, expected, synced = len(first), 1, 0
        for line in self._lines:
            record = decode(line)
            if record is None or record.get("seq") != expected:
                break
            declared = record.get("synced")
            if declared != synced:
                if not isinstance(declared, int) or not synced < declared < expected:
                    break  # nobody wrote this: `synced` grows, and lies behind
                synced = declared
            expected += 1
            end += len(line)
            yield record
        else:
            self.end, self.last_seq, self.synced = end, expected - 1, synced
            return
        self.end, self.last_seq, self.synced = end, expected - 1, synced
        self.damaged = True
        if self._highest_synced() >= expected:
            raise LedgerDamaged(
                f"damaged at byte {end}: record {expected} was durable and can't be read. Put a "
                "good copy of the file in its place; do not edit or delete it"
            )

    def _highest_synced(self) -> int:
        """The highest seq that the lines behind the damage declare durable."""
        records = (decode(line) for line in self._lines)
        declared = (record.get("synced") for record in records if record is not None)
        return max((number for number in declared if isinstance(number, int)), default=0)


def _born(line: bytes) -> Record:
    """The `run` record, from a ledger's first line."""
    header = decode(line)
    if header is None or "seq" in header:  # one with a number stood behind it
        if b'"event":"run"' in line or b'"crc":' in line:
            raise LedgerDamaged(
                "damaged at byte 0: the `run` record can't be read. Put a good copy of the file in "
                "its place; do not edit or delete it"
            )
        if not line:
            raise LedgerDamaged(
                "the file is empty, and a ledger is born whole: another program emptied it. Put a "
                "good copy in its place"
            )
        raise LedgerForeign("the file is no batchsnap ledger: its first line is no `run` record")
    if header.get("event") != "run":
        raise LedgerForeign("the file is no batchsnap ledger: its first line is no `run` record")
    if header.get("v") != VERSION:
        raise LedgerForeign(
            f"the ledger has version {header.get('v')}, this batchsnap reads {VERSION}: "
            "use the batchsnap that wrote it"
        )
    return header


def move_of(record: Record) -> str:
    """The record's move in `lifecycle.TABLE`."""
    event = record["event"]
    if event != "settled":
        return event
    if record.get("final"):
        return "unseen" if record.get("code") else "asked"
    return "found" if record["found"] else "absent"


_KEPT = (
    "event", "key", "disk_id", "disk_backup_id", "region", "profile", "attempt",
    "snapshot_name", "baseline", "code", "message",
)  # fmt: skip


def _brief(record: Record) -> Record:
    """What is still asked of a row that failed: a manifest may hold very many of them."""
    return {name: record[name] for name in _KEPT if name in record}  # type: ignore


class Place:
    """Where some rows stand. All of them share it."""

    __slots__ = ("at_rest", "failed", "next", "rows", "standing")

    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        self.rows = 0
        self.at_rest = standing.state in DONE and not standing.owed
        self.failed = standing.state in ENDED
        self.next: dict[str, Place] = {}  # by move


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
        self.recovered = False  # a repair cut this ledger once
        self.lost = ""  # why durable records may be missing from it
        self.home: Home = {}  # which file its latest life wrote to; empty: not told
        self.finished: Record | None = None  # the end, where nothing was begun after it
        self.ended: Record | None = None  # the run's own end, whatever was waited or deleted since
        self._unborn = Place(NEW)  # of rows without a record
        self._all = {NEW: self._unborn}

    def apply(self, record: Record) -> None:
        """Fold one record in.

        Raises:
            IllegalMove: the row's life does not allow it; nothing has changed.
        """
        key = record.get("key")
        if key is None:
            self._apply_run(record)
            return
        event = record["event"]
        old = self.places.get(key)
        start = old or self._unborn
        new = start.next.get(event) or self._next_place(start, record)
        if old is not None:
            old.rows -= 1
        new.rows += 1
        self.places[key] = new
        if new.at_rest:
            self.intents.pop(key, None)
            self.latest.pop(key, None)
            return
        if event == "intent":
            self.intents[key] = record
            if record["disk_backup_id"] is not None:
                self.backup_disks.add(record["disk_id"] or "")
        elif new.failed:
            record = _brief(record)
            if key in self.intents:
                self.intents[key] = _brief(self.intents[key])
        if event != "halted" or key not in self.latest:  # that is of its scope, not of the row
            self.latest[key] = record

    def _next_place(self, start: Place, record: Record) -> Place:
        """Where the record moves a row of this place; kept, for the next row that goes so."""
        move = move_of(record)
        place = start.next.get(move)
        if place is None:
            try:
                standing = step(start.standing, move)
            except IllegalMove as error:
                number = f"record {record['seq']}: " if "seq" in record else ""
                raise IllegalMove(f"{number}row {record['key']}: {error}") from None
            place = self._all.get(standing)
            if place is None:
                place = self._all[standing] = Place(standing)
            start.next[move] = place
        return place

    def _apply_run(self, record: Record) -> None:
        event = record["event"]
        if event not in RUN_EVENTS:
            if event in MOVES:
                raise IllegalMove(f"a record of event {event!r} must name its row")
            return  # of a later version: it tells of the run, and moves no row
        if event == "finished":
            self.finished = self.ended = record
            return
        if event == "run":
            self.header = record
        self.finished = None
        if "manifest" in record:  # a run's; other commands take up a ledger without one
            self.ended = None
        self.settings.update(record.get("settings", {}))
        self.manifest = record.get("manifest", self.manifest)
        self.gone = frozenset(self.manifest.get("gone", ()))
        self.home = record.get("home", self.home)
        recovered = record.get("recovered", {})
        self.recovered = self.recovered or "cut_bytes" in recovered
        self.lost = self.lost or recovered.get("lost", "")

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
