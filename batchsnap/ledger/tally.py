"""What a run came to, beside where its rows stand: calls, halts, lives, the worst second, the pace.

Its memory does not grow with the rows, but for those that were given a reason or made twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from batchsnap.ledger.record import Record, of_later_version, unstamp, unstamp_ms
from batchsnap.lifecycle import LIVES, Event
from batchsnap.settings import TIMEOUT_S

RECENT_S = 60.0
"""The pace of a run is that of so long."""
_LATE_S = 60.0  # outcomes come in the order of replies; none is later than a timeout and this
_WINDOW_MS = 1000
_FEW_MOMENTS = 512
_TENTH = len("2026-11-24T08:16:13.0")  # of a stamp: as exactly as the pace is known


class WorstSecond:
    """The most starts in any second of one quota, from starts that come nearly in order.

    In whole milliseconds, as the ledger has them: fractions of Unix seconds are too coarse to tell
    999 from 1000. Starts of one millisecond are kept as a number, so that the memory is bounded.
    """

    def __init__(self, late_ms: int) -> None:
        self._late_ms = late_ms
        self._most = 0
        self._starts: dict[int, int] = {}  # in each moment that an earlier one may still follow
        self._room = _FEW_MOMENTS  # for so many, before those that are over are passed
        self._window: deque[tuple[int, int]] = deque()
        self._in_window = 0

    def add(self, start_ms: int) -> None:
        starts = self._starts
        if start_ms in starts:
            starts[start_ms] += 1
            return
        starts[start_ms] = 1
        if len(starts) >= self._room:  # many at once: sorting what is nearly in order is cheap
            self._pass(sorted(m for m in starts if m < start_ms - self._late_ms), starts.pop)
            self._room = max(_FEW_MOMENTS, 2 * len(starts))

    @property
    def worst(self) -> int:
        """Of all starts so far."""
        whole = WorstSecond(0)
        whole._most, whole._window = self._most, self._window.copy()
        whole._in_window = self._in_window
        whole._pass(sorted(self._starts), self._starts.__getitem__)
        return whole._most

    def _pass(self, moments: list[int], starts_at: Callable[[int], int]) -> None:
        """Let the window go over moments, in order."""
        window, in_window, most = self._window, self._in_window, self._most
        if window and moments and moments[0] < window[-1][0]:
            window.clear()  # the wall clock was set back
            in_window = 0
        for moment in moments:
            starts = starts_at(moment)
            window.append((moment, starts))
            in_window += starts
            while moment - window[0][0] >= _WINDOW_MS:
                in_window -= window.popleft()[1]
            most = max(most, in_window)
        self._in_window, self._most = in_window, most


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
        self._starts: dict[tuple[str | None, ...], WorstSecond] = {}
        self._shared = True  # one host serves all regions
        self._late_ms = round((TIMEOUT_S + _LATE_S) * 1000)
        self._elapsed_s = 0.0  # of lives that are over
        self._sending_s = 0.0  # of these, until their last snapshot was made
        self._made_at = ""  # when the latest life last made one
        self._life_began = 0.0
        self._owned: set[tuple[str, str]] = set()  # (source, host), where each has its owner
        self._made: deque[tuple[str, int]] = deque(maxlen=round(RECENT_S * 10) + 1)
        self._tenth, self._made_in_it = "", 0  # the latest, and not among `_made` yet

    def add(self, record: Record) -> None:
        """Take a record that the rows' lives allow."""
        event, key = record["event"], record.get("key")
        if key is None:
            if not of_later_version(record) or (event in LIVES and "at" in record):
                self._add_run(record)
            return
        self.last = record["at"]
        if "code" in record:
            why = record["code"], record.get("message", "")
            self.why[key] = self._same.setdefault(why, why)
        elif self.why and not record.get("final"):  # the last question takes no reason away
            self.why.pop(key, None)
        if event == Event.INTENT:
            if self._taken_over:
                self._halt_is_over(record)
        else:
            self._add_outcome(event, key, record)

    def _add_outcome(self, event: str, key: str, record: Record) -> None:
        at = record["at"]
        if "sent_at" in record:
            self._add_call(record)
        if event == Event.ACCEPTED:
            self._made_at = at
            self._add_made(at[:_TENTH])
        elif event == Event.IN_DOUBT:
            self.doubted = at
        elif record.get("verdict") == "BACKPRESSURE" and "not_before" in record:
            rests_until = unstamp(record["not_before"])
            self.rests[record["region"] or ""] = rests_until, record.get("code", "")
        elif event == Event.DOUBLED:
            self.doubled.add(key)
        elif event == Event.HALTED:
            self._add_halt(record)

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
        tenths = [*self._made, (self._tenth, self._made_in_it)]
        made = [(unstamp(f"{tenth}00Z"), number) for tenth, number in tenths if number]
        recent = [(at, number) for at, number in made if now - at <= RECENT_S]
        if not recent:
            return 0.0
        return sum(n for _, n in recent) / max(1.0, min(RECENT_S, now - recent[0][0]))

    def _add_call(self, record: Record) -> None:
        self.requests += 1
        self.throttled += record.get("verdict") == "THROTTLED"
        quota = record["profile"], None if self._shared else record["region"]
        starts = self._starts.get(quota)
        if starts is None:
            starts = self._starts[quota] = WorstSecond(self._late_ms)
        starts.add(unstamp_ms(record["sent_at"]))

    def _add_made(self, tenth: str) -> None:
        if tenth == self._tenth:
            self._made_in_it += 1
        else:
            self._made.append((self._tenth, self._made_in_it))
            self._tenth, self._made_in_it = tenth, 1

    def _add_run(self, record: Record) -> None:
        event = record["event"]
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
            self._late_ms = round((timeout_s + _LATE_S) * 1000)

    def _add_owner(self, record: Record) -> None:
        """Many processes, each with quotas of its own: their lives run side by side."""
        quota = record.get("source", ""), record.get("host", "")
        if record["event"] == Event.RELEASED:
            self._owned.discard(quota)
            return
        if not self._owned:
            self._begin_life(record)
        self._owned.add(quota)
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
