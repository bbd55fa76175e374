"""Who works on what, where each quota of a run has an owner: a fold of `claimed`, `released` and
the rows' records beside the run's own.

Records alone tell who claimed a quota and has not given it back; whether that process still lives
is asked of the database, where there is one (`Owned`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from batchsnap.cloud.endpoints import endpoint_url, host_of
from batchsnap.ledger.ports import Owned, name_of
from batchsnap.ledger.record import Record
from batchsnap.ledger.replay import Fold
from batchsnap.ledger.tally import Pace
from batchsnap.lifecycle import DONE, ENDED, LIVES, Event
from batchsnap.owners.quotas import QuotaLine

_INTENT, _ACCEPTED = str(Event.INTENT), str(Event.ACCEPTED)
_Quota = tuple[str, str]
"""Whose credential (source), and which host."""


@dataclass(slots=True)
class QuotaPart:
    """What the records tell of one quota."""

    profiles: tuple[str, ...] = ()
    rows: int = 0
    owner: str = ""  # host:pid of who claimed it and did not give it back
    since: str = ""  # when
    ended: str = ""  # done, halted or gave_up: as its last owner said
    made: int = 0  # rows that need nothing more
    failed: set[str] = field(default_factory=set)  # keys
    fault: str = ""  # the newest that no success followed
    halt: str = ""  # what its owner stopped at
    pace: Pace = field(default_factory=Pace)


class Takeover(NamedTuple):
    """A quota that another process went on with, whose owner had not given it back."""

    at: str
    quota: str  # for people
    former: str
    owner: str


class Parts:
    """Fold the records of a run through it; `fold` is the run's own. Where no quota has an owner,
    as in a file, it costs nothing."""

    def __init__(self) -> None:
        self.fold = Fold()
        self.by_quota: dict[_Quota, QuotaPart] = {}
        self._places: dict[tuple[str | None, str | None], QuotaPart] = {}
        self._failed: dict[str, QuotaPart] = {}  # by key

    def apply(self, record: Record) -> Takeover | None:
        """Take the next record.

        Raises:
            IllegalMove: as `Fold.apply`.
        """
        fold, key = self.fold, record.get("key")
        if key is None or not self.by_quota:
            fold.apply(record)
            return self._of_run(record) if key is None else None
        event = record["event"]
        if event == _INTENT:  # half of all records: only a row that had failed moves by it
            fold.apply(record)
            if (part := self._failed.pop(key, None)) is not None:
                part.failed.discard(key)
        elif event == _ACCEPTED:  # and of most others
            fold.apply(record)
            part = self._place(record["profile"], record["region"])
            part.made += 1
            part.pace.add(record["at"])
            part.fault = ""
        else:
            self._move(key, record)
        return None

    def _move(self, key: str, record: Record) -> None:
        """Whatever else may happen to a row."""
        part = self._place(record["profile"], record["region"])
        old = self.fold.standing(key).state
        self.fold.apply(record)
        new = self.fold.standing(key).state
        part.made += (new in DONE) - (old in DONE)
        if new in ENDED:
            part.failed.add(key)
            self._failed[key] = part
        elif old in ENDED:
            part.failed.discard(key)
        if "code" in record:
            part.fault = _said(record)
            if record["event"] == Event.HALTED:
                part.halt = part.fault

    def _of_run(self, record: Record) -> Takeover | None:
        event = record["event"]
        if event == Event.RESUMED and "manifest" in record:  # what had ended badly gets another try
            for part in self.by_quota.values():
                if part.ended != "done" or part.failed:
                    part.ended = part.halt = ""
        if event not in LIVES or not record.get("source"):
            return None
        quota = record["source"], record["host"]
        part = self.by_quota.setdefault(quota, QuotaPart())
        if event == Event.RELEASED:
            part.owner = ""
            if "ended" in record:  # whoever settles or waits ends no quota
                part.ended = record["ended"] or ""
            return None
        former, part.owner, part.since = part.owner, record.get("worker", ""), record["at"]
        part.halt = ""
        part.rows = record.get("rows", part.rows)
        if profiles := tuple(record.get("profiles", ())):
            part.profiles = profiles
            self._places.clear()
        if not former or former == part.owner:
            return None
        return Takeover(record["at"], name_of(part.profiles, quota[0]), former, part.owner)

    def _place(self, profile: str | None, region: str | None) -> QuotaPart:
        """The quota that rows of this profile and region use."""
        part = self._places.get((profile, region))
        if part is None:
            host = host_of(endpoint_url(self.fold.header["endpoint"], region or ""))
            found = (
                part
                for (_, its_host), part in self.by_quota.items()
                if its_host == host and (profile or "") in part.profiles
            )
            part = self._places[profile, region] = next(found, QuotaPart())
        return part

    def now(self, owned: Iterable[Owned], now: float) -> list[QuotaLine]:
        """How each quota stands at `now` (Unix seconds); `owned` is what the database knows of
        them, nothing where only records are there."""
        known = list(owned) or [
            Owned(
                *(source, host, part.profiles, part.rows),
                "" if part.owner else part.ended,
                bool(part.owner),
            )
            for (source, host), part in self.by_quota.items()
        ]
        return [self._line(one, now) for one in sorted(known)]

    def _line(self, one: Owned, now: float) -> QuotaLine:
        part = self.by_quota.get((one.source, one.host), QuotaPart())
        failed = len(part.failed - self.fold.gone)
        at_work = one.held and not one.ended
        return QuotaLine(
            name=name_of(one.profiles, one.source),
            source=one.source,
            host=one.host,
            profiles=one.profiles,
            owner=(part.owner or "a run of another ledger") if at_work else "",
            former="" if at_work or one.ended else part.owner,
            since=part.since if at_work and part.owner else "",
            rows=one.rows,
            failed=failed,
            left=0 if one.ended == "done" else max(0, one.rows - part.made - failed),
            rate_per_s=part.pace.rate_per_s(now) if at_work else 0.0,
            ended=one.ended,
            why=(part.halt or part.fault) if one.ended in {"halted", "gave_up"} else "",
        )


def _said(record: Record) -> str:
    message = record.get("message", "")
    return f"{record['code']}: {message}" if message else record["code"]
