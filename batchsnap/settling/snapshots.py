"""Snapshots that rows were given: kept small, and held against what the cloud shows of them.

`wait`, `--wait` and `rollback` ask about as many snapshots as a ledger has rows. A `Pile` keeps
them packed, and `look` is the one place that says what an answer proves:

- It proves what it shows, if that is on the disk that the ledger says.
- What a whole answer lacks may be too fresh to be shown, or left out of a stale list. It is gone
  only when the answers of the whole settle schedule lacked it, four looks over a minute, and the
  same credential sees its disk: a wrong account is shown nothing either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import orjson

from batchsnap.client import questions
from batchsnap.client.account import Account
from batchsnap.cloud.pages import SnapshotFact
from batchsnap.ledger.record import Record
from batchsnap.lifecycle import Event, State
from batchsnap.model import RegionKey
from batchsnap.settings import Patience, patience
from batchsnap.settling.row import RunContext

IDS_A_QUESTION = 100
NORMAL = "NORMAL"
_PAUSE_S = 5.0
_PAUSE_MOST_S = 30.0


class Snapshot(NamedTuple):
    """A snapshot that a row was given, with what every record of the row says."""

    snapshot_id: str
    key: str
    disk_id: str
    disk_backup_id: str
    region: str
    profile: str
    attempt: int
    source_id: str = ""  # of a copy
    looks: int = 0  # answers in a row that lacked it
    missed_at: float = 0.0  # when the first of them was asked for, monotonic


def snapshot_of(record: Record, snapshot_id: str = "") -> Snapshot:
    """The snapshot that a record accepted, or another one of its row."""
    return Snapshot(
        snapshot_id or record["snapshot_id"],
        record["key"],
        record["disk_id"] or "",
        record["disk_backup_id"] or "",
        record["region"] or "",
        record["profile"] or "",
        record["attempt"],
        record.get("source_id", ""),
    )


class Pile:
    """Snapshots of one profile and region, first in, first out, in some 65 bytes each."""

    def __init__(self, profile: str, region: str) -> None:
        self.profile = profile
        self.region = region
        self._packed: deque[bytes] = deque()  # of a question's worth each
        self._loose: list[Snapshot] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, snapshot: Snapshot) -> None:
        """Put one behind the others."""
        self._loose.append(snapshot)
        self._count += 1
        if len(self._loose) == IDS_A_QUESTION:
            self._pack()

    def round(self) -> Iterator[list[Snapshot]]:
        """Take each once, a question's worth at a time; what is added meanwhile is for the next
        round, and what a caller does not come to stays."""
        if self._loose:
            self._pack()
        for _ in range(len(self._packed)):
            some = self._unpacked(self._packed.popleft())
            self._count -= len(some)
            yield some

    def first(self, number: int) -> list[Snapshot]:
        """The first ones, which stay."""
        packed = (snapshot for some in self._packed for snapshot in self._unpacked(some))
        found = list(islice(packed, number))
        return found + self._loose[: number - len(found)]

    def _pack(self) -> None:
        rows = [(s[:4], *s[6:]) for s in self._loose]  # all share profile and region
        # A copy: what orjson gives keeps the room that it was written in, more than twice as much.
        self._packed.append(bytes(memoryview(orjson.dumps(rows))))
        self._loose = []

    def _unpacked(self, packed: bytes) -> list[Snapshot]:
        scope = self.region, self.profile
        return [Snapshot._make((*who, *scope, *rest)) for who, *rest in orjson.loads(packed)]


def piled(snapshots: Iterable[Snapshot]) -> dict[RegionKey, Pile]:
    """The snapshots by profile and region."""
    piles: dict[RegionKey, Pile] = {}
    for snapshot in snapshots:
        scope = snapshot.profile, snapshot.region
        if scope not in piles:
            piles[scope] = Pile(*scope)
        piles[scope].add(snapshot)
    return piles


def accepted_in(
    records: Iterable[Record], standing: Callable[[str], State], states: Container[State]
) -> Iterator[Snapshot]:
    """The snapshots that records accepted, of rows that are now in one of `states`. A row is
    accepted once in its life, so none comes twice."""
    for record in records:
        if record["event"] == Event.ACCEPTED and standing(record["key"]) in states:
            yield snapshot_of(record)


class Look(NamedTuple):
    """What one question told of some snapshots; each is in one of the first five."""

    shown: list[tuple[Snapshot, SnapshotFact]]
    elsewhere: list[tuple[Snapshot, SnapshotFact]]  # shown, on another disk than its row's
    gone: list[Snapshot]  # lacked for long enough by who sees their disks
    unseen: list[Snapshot]  # lacked for long enough by who does not see their disks either
    open: list[Snapshot]  # to be asked about again
    why: questions.Unanswered | None  # of `open`, where the question had no whole answer


async def look(
    account: Account, context: RunContext, region: str, some: Sequence[Snapshot]
) -> Look:
    """Ask about up to 100 snapshots of a region."""
    asked_at = context.clock.monotonic()
    maker = context.maker
    answer = await maker.by_id(account, region, {s.snapshot_id: s.disk_id for s in some})
    taken = patience_with(account, context)
    facts = {fact.snapshot_id: fact for fact in answer.facts}
    found = Look([], [], [], [], [], answer.why if isinstance(answer, questions.Part) else None)
    silent: list[Snapshot] = []
    for snapshot in some:
        fact = facts.get(snapshot.snapshot_id)
        if fact is None and found.why is not None:
            found.open.append(snapshot)
        elif fact is None:
            missed_at = snapshot.missed_at if snapshot.looks else asked_at
            missed = snapshot._replace(looks=snapshot.looks + 1, missed_at=round(missed_at, 2))
            (silent if _long_enough(missed, taken, asked_at) else found.open).append(missed)
        elif snapshot.disk_id and fact.disk_id != snapshot.disk_id:
            found.elsewhere.append((snapshot, fact))
        else:
            found.shown.append((snapshot._replace(looks=0), fact))
    answers = {s.disk_id: answer for s in silent}
    silence = await maker.silence(account, region, answers, silent, context.say)
    for snapshot in silent:
        if silence.proves(snapshot.disk_id):
            found.gone.append(snapshot)
        else:
            unseen = silence.why(snapshot.disk_id).code == questions.UNSEEN
            (found.unseen if unseen else found.open).append(snapshot)
    return found


def patience_with(account: Account, context: RunContext) -> Patience:
    """How long this cloud's silence is listened to."""
    return patience(context.settings, context.waits, account.declared_s)


def _long_enough(snapshot: Snapshot, taken: Patience, now: float) -> bool:
    looks, lasts_s = len(taken.looks_s), taken.looks_s[-1]
    return snapshot.looks >= looks and now - snapshot.missed_at >= lasts_s


class Pauses:
    """The pauses between rounds: a few seconds, growing while nothing changes."""

    def __init__(self, account: Account, context: RunContext) -> None:
        self._account = account
        self._context = context
        self._next_s = _PAUSE_S

    async def pause(self, *, moved: bool) -> None:
        """Wait; `moved`: the last round changed something."""
        if moved:
            self._next_s = _PAUSE_S
        scale = min(1.0, patience_with(self._account, self._context).scale)
        await self._context.clock.sleep(self._next_s * scale)
        self._next_s = min(_PAUSE_MOST_S, self._next_s * 1.5)
