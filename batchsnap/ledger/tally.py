"""What a run came to, beside where its rows stand: calls, halts, lives, the worst second, the pace.

Its memory does not grow with the rows, but for those that were given a reason or made twice.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Hashable
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat

from batchsnap.ledger.record import Record, of_later_version, of_whole_run, stamp, unstamp
from batchsnap.lifecycle import LIVES, Event
from batchsnap.model import Verdict
from batchsnap.settings import TIMEOUT_S

RECENT_S = 60.0
"""The pace of a run is that of so long."""
_LATE_S = 60.0  # outcomes come in the order of replies; none is later than a timeout and this
_SECOND = timedelta(seconds=1)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_EXACT_S = 0.002  # of stamps
_FEW_MOMENTS = 512
_TENTH = len("2026-11-24T08:16:13.0")  # of a stamp: as exactly as the pace is known
_INTENT, _ACCEPTED = Event.INTENT, Event.ACCEPTED
"""Of nearly all records; an enumeration is slow to find its members."""


class WorstSecond:
    """The most starts in any second of one quota, from stamps that come nearly in order.

    Starts of one moment are kept as a number, so that the memory is bounded. A window goes over
    those that no earlier one can follow any more. It takes in each start, and lets one go only
    where the first is a second older than the last: so it never shrinks, and is the answer.
    """

    def __init__(self, late_s: float) -> None:
        self._late_s = late_s
        self._starts: dict[str, int] = {}  # in each moment that an earlier one may still follow
        self._room = _FEW_MOMENTS  # for so many, before those that are over are passed
        self._window: deque[datetime] = deque()
        self._told = ""
        self._before: WorstSecond | None = None  # until the wall clock was last set back

    def add(self, start: str, told: str, took_ms: float = 0.0) -> None:
        """Take a start, of a record that was written at `told`, and whose call took so long."""
        if told < self._told:  # the wall clock was set back: moments come that were there before
            self._set_back()
        self._told = told
        if self._before is not None and unstamp(start) + took_ms / 1000 > unstamp(told) + _EXACT_S:
            self._before.add(start, self._before._told)  # its call was out at that moment
            return
        starts = self._starts
        starts[start] = starts.get(start, 0) + 1
        if len(starts) >= self._room:  # many at once: sorting what is nearly in order is cheap
            stamps = sorted(starts)
            over = bisect_left(stamps, stamp(unstamp(start) - self._late_s))
            self._pass(stamps[:over], starts.pop)
            self._room = max(_FEW_MOMENTS, 2 * len(starts))

    @property
    def worst(self) -> int:
        """Of all starts so far."""
        whole = WorstSecond(0.0)
        whole._window = self._window.copy()
        whole._pass(sorted(self._starts), self._starts.__getitem__)
        return max(len(whole._window), self._before.worst if self._before is not None else 0)

    def _set_back(self) -> None:
        """Begin anew: what was counted so far shares no second with what comes."""
        before = WorstSecond(self._late_s)
        before._starts, before._window, before._told = self._starts, self._window, self._told
        self._window = deque([_LONG_AGO] * self.worst)
        self._starts, self._before, self._room = {}, before, _FEW_MOMENTS

    def _pass(self, stamps: list[str], starts_at: Callable[[str], int]) -> None:
        """Let the window go over moments, in order."""
        moments = list(map(datetime.fromisoformat, stamps))
        if self._window and moments and moments[0] < self._window[-1]:
            self._part()
        window = self._window
        for moment in chain.from_iterable(map(repeat, moments, map(starts_at, stamps))):
            window.append(moment)
            if moment - window[0] >= _SECOND:
                window.popleft()

    def _part(self) -> None:
        """Those that were passed share no second with those that come."""
        self._window = deque([_LONG_AGO] * len(self._window))


class Pace:
    """How many were made lately, in tenths of a second, so that the memory is bounded."""

    __slots__ = ("_in_tenth", "_made", "_tenth")

    def __init__(self) -> None:
        self._made: deque[tuple[str, int]] = deque(maxlen=round(RECENT_S * 10) + 1)
        self._tenth, self._in_tenth = "", 0  # the latest, and not among `_made` yet

    def add(self, at: str) -> None:
        """One was made then."""
        tenth = at[:_TENTH]
        if tenth == self._tenth:
            self._in_tenth += 1
        else:
            self._made.append((self._tenth, self._in_tenth))
            self._tenth, self._in_tenth = tenth, 1

    def rate_per_s(self, now: float) -> float:
        """Of the minute before `now` (Unix seconds), or of the time since the first in it."""
        since = stamp(now - RECENT_S)[:_TENTH]
        tenths = [*self._made, (self._tenth, self._in_tenth)]
        recent = [(tenth, number) for tenth, number in tenths if number and tenth >= since]
        if not recent:
            return 0.0
        lasted_s = now - unstamp(f"{recent[0][0]}00Z")
        return sum(number for _, number in recent) / max(1.0, min(RECENT_S, lasted_s))


class Tally:
    """The sum of a run's records, in ledger order."""

    def __init__(self) -> None:
        self.requests = 0  # CreateSnapshot calls sent
        self.throttled = 0
        self.doubled: set[str] = set()  # keys
        self.why: dict[str, tuple[str, str]] = {}  # (code, message) of each row's last outcome
        self.last = ""  # when the newest record was written
        self.doubted = ""  # when a row was last found in doubt, or a life began that may find some
        self.rests: dict[str, tuple[float, str]] = {}  # region -> (Unix seconds, code)
        self._same: dict[tuple[str, str], tuple[str, str]] = {}  # reasons that rows share
        self._halted: dict[tuple[str, ...], dict[str, str]] = {}
        self._taken_over: set[tuple[str, ...]] = set()  # halts of owners that another followed
        self._starts: dict[Hashable, WorstSecond] = {}  # by quota
        self._shared = True  # one host serves all regions
        self._late_s = TIMEOUT_S + _LATE_S
        self._elapsed_s = 0.0  # of lives that are over
        self._sending_s = 0.0  # of these, until their last snapshot was made
        self._made_at = ""  # when the latest life last made one
        self._life_began = 0.0
        self._owners: dict[tuple[str, str], str] = {}  # worker of each (source, host)
        self._pace = Pace()

    def add(self, key: str, event: str, record: Record) -> None:
        """Take a record of a row, one that its life allows."""
        self.last = at = record["at"]
        if "code" in record:
            if not of_whole_run(record):
                why = record["code"], record.get("message", "")
                self.why[key] = self._same.setdefault(why, why)
        elif self.why and not record.get("final"):  # the last question takes no reason away
            self.why.pop(key, None)
        if event == _INTENT:
            if self._taken_over:
                self._halt_is_over(record)
            return
        if "sent_at" in record:
            self._add_call(record)
        if event == _ACCEPTED:
            self._made_at = at
            self._pace.add(at)
        else:
            self._add_other(key, event, record)

    @property
    def halted(self) -> tuple[dict[str, str], ...]:
        """The scopes that the latest process, or the latest owner of each quota, stopped."""
        return tuple(self._halted.values())

    @property
    def elapsed_s(self) -> float:
        """Of all process lives; of lives beside each other, once."""
        return self._elapsed_s + self._life_s

    @property
    def sending_s(self) -> float:
        """Of all process lives, until each made its last snapshot: without what was waited."""
        return self._sending_s + self._life_sending_s

    @property
    def worst_second(self) -> int:
        """The most starts in any one second of one quota."""
        return max((quota.worst for quota in self._starts.values()), default=0)

    @property
    def heard(self) -> float:
        """When the newest record was written, in Unix seconds; 0 before any."""
        return unstamp(self.last) if self.last else 0.0

    def rate_per_s(self, now: float) -> float:
        """Accepted snapshots a second, of the minute before `now` (Unix seconds), or of the time
        since the first."""
        return self._pace.rate_per_s(now)

    def _add_call(self, record: Record) -> None:
        self.requests += 1
        profile = record["profile"]
        quota = profile if self._shared else (profile, record["region"])
        starts = self._starts.get(quota)
        if starts is None:
            starts = self._starts[quota] = WorstSecond(self._late_s)
        starts.add(record["sent_at"], record["at"], record.get("latency_ms", 0.0))

    def _add_other(self, key: str, event: str, record: Record) -> None:
        verdict = record.get("verdict")
        if verdict == Verdict.THROTTLED:
            self.throttled += "sent_at" in record
        elif verdict == Verdict.BACKPRESSURE and "not_before" in record:
            rests_until = unstamp(record["not_before"])
            self.rests[record["region"] or ""] = rests_until, record.get("code", "")
        if event == Event.IN_DOUBT:
            self.doubted = record["at"]
        elif event == Event.DOUBLED:
            self.doubled.add(key)
        elif event == Event.HALTED:
            self._add_halt(record)

    def add_run(self, record: Record) -> None:
        """Take a record of the whole run, or of a life."""
        event = record["event"]
        if of_later_version(record) and not (event in LIVES and "at" in record):
            return
        if event in LIVES:
            self._add_owner(record)
        elif event != Event.FINISHED:
            self._begin_life(record)
            self._halted.clear()
            self._taken_over.clear()
        self.last = record["at"]
        if "endpoint" in record:
            self._shared = "{region}" not in record["endpoint"]
        if timeout_s := record.get("settings", {}).get("timeout_s"):
            self._late_s = timeout_s + _LATE_S

    def _add_owner(self, record: Record) -> None:
        """Many processes, each with quotas of its own: their lives run side by side."""
        quota = record.get("source", ""), record.get("host", "")
        former = self._owners.pop(quota, None)
        if record["event"] == Event.RELEASED:
            return
        if former is not None:  # it gave nothing back, so it is dead
            self._owners = {q: owner for q, owner in self._owners.items() if owner != former}
        if not self._owners:
            self._begin_life(record)
        self._owners[quota] = record.get("worker", "")
        self._taken_over |= self._halted.keys()

    def _begin_life(self, record: Record) -> None:
        self._elapsed_s += self._life_s
        self._sending_s += self._life_sending_s
        self._life_began = unstamp(record["at"])
        self._made_at = ""
        self.doubted = record["at"]

    def _add_halt(self, record: Record) -> None:
        scope = record.get("scope", "region")
        where = {"profile": record["profile"] or ""}
        if scope == "region":
            where["region"] = record["region"] or ""
        why = {"code": record.get("code", ""), "message": record.get("message", "")}
        key = scope, *where.values()
        self._halted.setdefault(key, {"scope": scope, **where, **why})
        self._taken_over.discard(key)

    def _halt_is_over(self, record: Record) -> None:
        """Since somebody else claimed a quota, rows of a halted scope are sent again."""
        profile, region = record["profile"] or "", record["region"] or ""
        for key in {("region", profile, region), ("account", profile)} & self._taken_over:
            del self._halted[key]
            self._taken_over.discard(key)

    @property
    def _life_s(self) -> float:
        """What the latest life has lasted so far."""
        return max(0.0, unstamp(self.last) - self._life_began) if self.last else 0.0

    @property
    def _life_sending_s(self) -> float:
        return max(0.0, unstamp(self._made_at) - self._life_began) if self._made_at else 0.0
