"""From records to where every row stands, and what its run came to: the one fold.

It is fed while a ledger is read and with each record that is appended, so engine, run, status,
metrics, view and report tell the same. It keeps one shared `Cohort` a row (there are few different
ones), and parts of records only of rows that are not at rest, so its memory is a dictionary entry
and a key for each row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from batchsnap.errors import IllegalMove
from batchsnap.ledger.record import Home, Kept, Record
from batchsnap.ledger.tally import Tally
from batchsnap.lifecycle import (
    DONE,
    MOVES,
    NEW,
    RUN_EVENTS,
    UNCERTAIN,
    WORD,
    Event,
    Finding,
    Standing,
    State,
    step,
)


def move_of(record: Record) -> str:
    """The record's move in `lifecycle.TABLE`."""
    event = record["event"]
    if event != Event.SETTLED:
        return event
    if record.get("final"):
        return Finding.UNSEEN if record.get("code") else Finding.ASKED
    return Finding.FOUND if record["found"] else Finding.ABSENT


_OF_INTENT = (
    *("disk_id", "disk_backup_id", "region", "profile", "attempt", "snapshot_name", "baseline"),
    "source_id",
)
_OF_LATEST = ("event", "attempt", "verdict", "code", "message", "snapshot_id", "not_before")
"""What is asked of a row that is neither at rest nor out."""


class Cohort:
    """Rows that stand alike: all of them share it."""

    __slots__ = ("at_rest", "is_out", "next", "rows", "standing")

    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        self.rows = 0
        self.is_out = standing.state is State.SENT
        self.at_rest = standing.state in DONE and not standing.owed
        self.next: dict[str, Cohort] = {}  # by move


class Fold:
    """Where every row stands, and what the run is: the sum of the records applied so far."""

    def __init__(self) -> None:
        self.cohorts: dict[str, Cohort] = {}
        self._out: dict[str, Record] = {}  # intents of rows that have no outcome yet
        self.intents = Kept(self._out, *_OF_INTENT)  # latest intent of rows not at rest
        self.latest = Kept(self._out, *_OF_LATEST)  # latest record of rows not at rest
        self.backup_disks: set[str] = set()  # disks that a row with a backup point is on
        self.tally = Tally()
        self.header: Record = {}
        self.settings: dict[str, Any] = {}
        self.manifest: dict[str, Any] = {}
        self.gone: frozenset[str] = frozenset()  # keys that the newest manifest lacks
        self.recovered = False  # a repair cut this ledger once
        self.lost = ""  # why durable records may be missing from it
        self.home: Home = {}  # which file its latest life wrote to; empty: not told
        self.finished: Record | None = None  # the end, where nothing was begun after it
        self.ended: Record | None = None  # the run's own end, whatever was waited or deleted since
        self.stopped: Record | None = None  # an end before its time, where nothing was begun since
        self._unborn = Cohort(NEW)  # of rows without a record
        self._all = {NEW: self._unborn}

    def apply(self, record: Record) -> None:
        """Fold one record in.

        Raises:
            IllegalMove: the row's life does not allow it; nothing has changed.
        """
        key = record.get("key")
        if key is None:
            self._apply_run(record)
            self.tally.add_run(record)
            return
        event = record["event"]
        old = self.cohorts.get(key)
        start = old or self._unborn
        new = start.next.get(event) or self._next_cohort(start, record)
        new.rows += 1
        self.cohorts[key] = new
        intent = None
        if old is not None:
            old.rows -= 1
            if old.is_out:
                intent = self._out.pop(key)
            elif new.at_rest or new.is_out:
                self.intents.drop(key)
                self.latest.drop(key)
        if new.is_out:
            self._out[key] = record
            if record["disk_backup_id"] is not None:
                self.backup_disks.add(record["disk_id"] or "")
        elif not new.at_rest:
            self._pack(key, record, intent)
        self.tally.add(key, event, record)

    def _pack(self, key: str, record: Record, intent: Record | None) -> None:
        """Keep what may be asked of a row that has an outcome, and is not at rest."""
        if intent is not None:
            self.intents.pack(key, intent)
        if record["event"] != Event.HALTED:
            self.latest.pack(key, record)
        elif intent is not None or key not in self.latest:  # it is of its scope, not of the row
            self.latest.pack(key, intent or record)

    def _next_cohort(self, start: Cohort, record: Record) -> Cohort:
        """The one to which the record moves a row; kept, for the next row that goes so."""
        move = move_of(record)
        cohort = start.next.get(move)
        if cohort is None:
            try:
                standing = step(start.standing, move)
            except IllegalMove as error:
                number = f"record {record['seq']}: " if "seq" in record else ""
                raise IllegalMove(f"{number}row {record['key']}: {error}") from None
            cohort = self._all.get(standing)
            if cohort is None:
                cohort = self._all[standing] = Cohort(standing)
            start.next[move] = cohort
        return cohort

    def _apply_run(self, record: Record) -> None:
        event = record["event"]
        if event == Event.STOPPED:
            self.stopped = record
            return
        if event not in RUN_EVENTS:
            if event in MOVES:
                raise IllegalMove(f"a record of event '{event}' must name its row")
            if event == Event.CLAIMED:
                self.stopped = None  # somebody goes on
            return  # of a later version: it tells of the run, and moves no row
        if event == Event.FINISHED:
            self.finished = self.ended = record
            return
        if event == Event.RUN:
            self.header = record
        self.finished = self.stopped = None
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
        cohort = self.cohorts.get(key)
        return NEW if cohort is None else cohort.standing

    def expect(self, rows: int, gone: Iterable[str]) -> None:
        """The manifest holds so many rows, and no longer these: known before the record that will
        say so."""
        self.manifest = {**self.manifest, "rows": rows}
        self.gone = frozenset(gone)

    @property
    def words(self) -> dict[str, int]:
        """Rows of the newest manifest by the word for where they stand; they add up to them."""
        counts = self.counts
        for key in self.gone & self.cohorts.keys():
            counts[self.cohorts[key].standing.state] -= 1
        words = dict.fromkeys(WORD.values(), 0)
        for state, number in counts.items():
            words[WORD[state]] += number
        words[WORD[State.PENDING]] += self.rows - sum(words.values())
        return words

    @property
    def rows(self) -> int:
        """Of the newest manifest."""
        return int(self.manifest.get("rows", 0))

    @property
    def counts(self) -> dict[State, int]:
        """Rows by state, of all rows that a record names."""
        counts = dict.fromkeys(State, 0)
        for cohort in self._all.values():
            counts[cohort.standing.state] += cohort.rows
        return counts

    @property
    def owed(self) -> int:
        """Rows that were sent again and still wait for their last question."""
        return sum(cohort.rows for cohort in self._all.values() if cohort.standing.owed)

    @property
    def unsettled(self) -> int:
        """Rows of which an attempt made so far may yet turn up."""
        return sum(c.rows for c in self._all.values() if not c.at_rest and _may_turn_up(c.standing))


def _may_turn_up(standing: Standing) -> bool:
    return standing.doubted or standing.owed or standing.state in UNCERTAIN


def folded(records: Iterable[Record]) -> Fold:
    """All records folded; raises as `Fold.apply` does."""
    fold = Fold()
    for record in records:
        fold.apply(record)
    return fold
