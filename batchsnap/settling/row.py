"""What is remembered of a row that is not at rest, where it stands, and what all such rows of a run
share."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from enum import IntEnum

import anyio

from batchsnap.client.ports import Clock, RecordSink, Say
from batchsnap.client.stopping import Stop
from batchsnap.ledger.record import Record, row_record, stamp
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import Event, binds
from batchsnap.model import PlannedRequest, Ruling, Verdict
from batchsnap.retry import Tries
from batchsnap.settings import Settings, Waits
from batchsnap.settling.makers import Creator, Maker

_SUSPECT = frozenset({Verdict.SUSPECT, Verdict.REJECTED})


class Stage(IntEnum):
    """Where a row that was taken up is, unless it waits for its turn in a queue."""

    STAGED = 0  # started, on its way to a token
    OUT = 1  # it has its token, and may be at the cloud
    BEHIND = 2  # another row of its disk goes first
    HELD = 3  # a suspect: other rows will tell
    ASKED = 4  # in doubt
    OWED = 5  # at rest but for its last question


class Row:
    """One row on its way. Dropped as soon as it is at rest."""

    __slots__ = (
        *(
            "attempt",
            "baseline",
            "doubt_since",
            "due",
            "key",
            "last",
            "number",
            "rejection",
            "remark",
        ),
        *("request", "snapshot_id", "stage", "tries", "turn"),
    )

    def __init__(
        self, request: PlannedRequest, intent: Record | None = None, *, attempt: int = 0
    ) -> None:
        """`intent`: the one in force, for the snapshot to look for bears its name. `attempt`: the
        row's latest one, so that no number is given twice."""
        self.request = request
        self.key = request.key
        self.attempt = attempt
        self.stage: Stage | None = None
        self.turn: anyio.Event | None = None  # set when it goes on; None: it has not begun
        self.due = -math.inf  # monotonic; not sent before
        self.number = 0  # of its latest start, of all that this process made
        self.tries = Tries()
        self.last: Ruling | None = None  # what its latest doubt came from
        self.rejection: Ruling | None = None  # a refusal that waits for an old doubt to settle
        self.remark = ""  # what is known of its disk, to be told with a refusal
        self.doubt_since = 0.0  # monotonic; no doubted attempt left later than this
        self.snapshot_id = ""  # what this process saw it being given
        self.baseline: list[str] | None = None
        if intent is not None:
            self.baseline = intent.get("baseline")
            self.request = request._replace(
                name=intent["snapshot_name"],
                named=self.baseline is not None,
                disk_id=intent["disk_id"] or request.disk_id,
            )

    @property
    def disk_id(self) -> str:
        return self.request.disk_id


def in_force(fold: Fold, key: str, *, ask_first: bool) -> Record | None:
    """The intent that still holds the row to its name, baseline, region and profile; without one
    the row goes by the manifest. `ask_first`: the ledger has a gap, its silence is no answer."""
    return fold.intents.get(key) if ask_first or binds(fold.standing(key)) else None


def resumed(fold: Fold, request: PlannedRequest, *, ask_first: bool) -> Row:
    """The row as earlier processes left it."""
    key, latest = request.key, fold.latest
    intent = in_force(fold, key, ask_first=ask_first)
    return Row(request, intent, attempt=latest[key]["attempt"] if key in latest else 0)


def was_suspect(record: Record | None) -> bool:
    """Whether a row's latest record held it back, for a code that may mean its whole scope."""
    if record is None or record["event"] != Event.DEFERRED:
        return False
    return record.get("verdict") in _SUSPECT


def request_in(record: Record) -> PlannedRequest:
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
        source_id=record.get("source_id", ""),
    )


@dataclass(frozen=True, slots=True)
class RunContext:
    """What all attempts and questions of a run share."""

    sink: RecordSink
    clock: Clock
    stop: Stop
    settings: Settings
    waits: Waits
    rng: random.Random
    say: Say  # talk for the person, one line
    maker: Maker = field(default_factory=Creator)  # the call that all of them are tries of

    def note(self, event: Event, row: Row, **details: object) -> object:
        """Append a record of the row; the handle is for `sink.durable`, if anyone waits."""
        at = stamp(self.clock.wall())
        return self.sink.append(row_record(event, row.request, row.attempt, at, **details))
