"""What the database has of one quota, read in one snapshot and sorted into what is to be done.

A dead worker may leave a million records, so they are read and folded in slices, with a pause
between them in which the heartbeats of whoever reads have the processor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from batchsnap.cloud.endpoints import is_local
from batchsnap.job.intake import Intake, sorted_in
from batchsnap.ledger.record import Record
from batchsnap.ledger.replay import Fold
from batchsnap.lifecycle import OVER, Event
from batchsnap.model import PlannedRequest
from batchsnap.postgres import schema
from batchsnap.postgres.door import Database
from batchsnap.postgres.reading import QuotaRow
from batchsnap.postgres.recovery import Server, given_back, server_of
from batchsnap.settings import Settings, Waits

SLICE = 5_000
"""Records, or rows, that are taken at a time: some 25 ms."""
_BREATH_S = 0.01
_PLANNED = (
    "select ord, request from batchsnap.planned where quota = %s and ord > %s order by ord limit %s"
)
_LINES = (
    "select seq, line from batchsnap.record where quota = %s and seq > %s order by seq limit %s"
)

_STOPS = {Event.STOPPED, Event.FINISHED, Event.CLAIMED}
"""Of a run's own records: it is open no more, also where one process takes all of it."""


class Remaining:
    """How many of a quota's planned rows are not at rest, told without keeping their keys."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self._fresh = 0  # planned rows that no record named when this began
        self._known = len(fold.cohorts)
        # Rows that are not planned any more are nobody's to bring to an end.
        self._others = {key for key, c in fold.cohorts.items() if c.standing.state not in OVER}

    def plan(self, requests: Iterable[PlannedRequest]) -> Iterator[PlannedRequest]:
        """Pass them on, and know them."""
        for request in requests:
            self._fresh += request.key not in self._fold.cohorts
            self._others.discard(request.key)
            yield request

    @property
    def rows(self) -> int:
        fold = self._fold
        unnamed = self._fresh - (len(fold.cohorts) - self._known)
        open_ = sum(number for state, number in fold.counts.items() if state not in OVER)
        others = sum(fold.standing(key).state not in OVER for key in self._others)
        return unnamed + open_ - others


Choose = Callable[[int, Fold, Iterable[PlannedRequest], bool], Iterable[PlannedRequest]]
"""(quota, where its rows stand, the planned ones, whether rejected rows are taken up again) -> the
rows that are to be made."""


@dataclass(slots=True)
class Share:
    """One quota's part of a run."""

    quota: QuotaRow
    fold: Fold = field(repr=False)
    settings: Settings
    waits: Waits
    newest: int = 0  # the number of its last record
    clean: bool = True  # whoever had the pair last gave it back, or nobody ever had it
    server: Server | None = None  # that of the last claim, or of the load
    read_on: Server | None = None
    lost: str = ""  # why durable records may be missing
    retry_failed: bool = False
    wait: bool = False  # until its snapshots are ready
    endpoint: str = ""
    remaining: Remaining = field(init=False)
    intake: Intake = field(init=False)

    def close(self) -> None:
        """Let go of its rows."""
        self.intake.close()


def read_share(
    database: Database,
    quota: QuotaRow,
    told: Sequence[Record],
    waits: Waits,
    choose: Choose | None,
) -> Share:
    """All of one quota, or of its rows those that are chosen; `told`: the ledger's header and the
    records of the run itself."""
    fold, retry_failed, lost = Fold(), False, ""
    known = told[0].get("server", {})
    for record in told:
        fold.apply(record)
        if record["event"] in _STOPS:
            retry_failed = False
        retry_failed = record.get("retry_failed", False) or retry_failed
    newest = 0
    for seq, record in records_of(database, quota.id):
        newest = seq
        fold.apply(record)
        if record["event"] == Event.CLAIMED:
            known = record.get("server", known)
            lost = lost or record.get("recovered", {}).get("lost", "")
    settings = Settings().merged(fold.settings)
    endpoint = fold.header["endpoint"]
    settings = settings.settling(local=is_local(endpoint), given=False)
    share = Share(
        quota,
        fold,
        settings.unbraked(),  # a whole run is not this quota's to judge
        waits.fitted(settings.retry_for_s),
        newest=newest,
        clean=given_back(database, [quota]),
        server=Server(**known) if known else None,
        read_on=server_of(database),
        lost=lost or fold.lost,
        retry_failed=retry_failed,
        endpoint=endpoint,
    )
    _sort(database, share, choose)
    return share


def _sort(database: Database, share: Share, choose: Choose | None) -> None:
    """Spool what is to be done of the planned rows."""
    share.remaining = Remaining(share.fold)
    rows: Iterable[PlannedRequest] = (
        schema.request_of(text) for _, text in _sliced(database, _PLANNED, share.quota.id)
    )
    if choose is not None:
        rows = choose(share.quota.id, share.fold, rows, share.retry_failed)
    share.intake = sorted_in(
        share.remaining.plan(rows),
        share.fold,
        share.settings,
        share.waits,
        retry_failed=share.retry_failed,
    )


def records_of(database: Database, quota: int) -> Iterator[tuple[int, Record]]:
    """A quota's records with their numbers."""
    for seq, line in _sliced(database, _LINES, quota):
        yield seq, orjson.loads(line)


def _sliced(database: Database, query: str, quota: int) -> Iterator[tuple[Any, ...]]:
    """The rows of a query by (quota, after, most), whose first column orders them."""
    after = 0
    while rows := database.run(query, quota, after, SLICE):
        yield from rows
        after = rows[-1][0]
        if len(rows) < SLICE:
            return
        time.sleep(_BREATH_S)
