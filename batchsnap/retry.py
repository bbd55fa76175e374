"""What to do after a verdict, decided from numbers alone: wait, settle, halt, give up, or done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from batchsnap.model import Ruling, Verdict
from batchsnap.settings import Waits

DOUBTS_MAX = 10
"""A row that was settled absent so many times is given up; an outage trips the breaker first."""
STREAK_LIMIT = 10
"""So many faults, doubts or throttles in a row pause the quota."""
_BAD = frozenset({Verdict.TRANSIENT, Verdict.IN_DOUBT, Verdict.THROTTLED})


class Do(StrEnum):
    DONE = "done"  # nothing is left to do for the row
    WAIT = "wait"  # not executed: send again after `delay_s`
    SETTLE = "settle"  # may have been executed: ask the cloud first
    HOLD = "hold"  # not executed: other rows of its scope will tell what becomes of it
    HALT = "halt"  # stop the scope, the row stays pending
    GIVE_UP = "give_up"  # the row's time is spent


class Decision(NamedTuple):
    do: Do
    delay_s: float = 0.0


@dataclass(slots=True)
class Tries:
    """What one row has met in this process."""

    busy: int = 0
    transient: int = 0
    doubts: int = 0
    cleared: bool = False  # was a suspect, and its scope is well: what it meets now counts
    since: float = -1.0  # monotonic; first BUSY, from which --retry-for counts


def decide(
    ruling: Ruling,
    tries: Tries,
    *,
    doubted: bool,
    suspect: bool,
    now: float,
    retry_for_s: float,
    waits: Waits,
    rand: float,
    rests_s: float = 0.0,
) -> Decision:
    """The next step for a row. `rand` is uniform in [0, 1); `tries` is counted up. `suspect`: a
    refusal may mean the row's whole scope. `rests_s`: how long the row's region rests after it.

    Throttles, faults before sending and a saturated region never count against the row.
    """
    verdict = ruling.verdict
    if verdict is Verdict.ACCEPTED:
        return Decision(Do.DONE)
    if verdict is Verdict.HALT:
        return Decision(Do.HALT)
    if verdict in {Verdict.REJECTED, Verdict.SUSPECT}:
        if suspect and not tries.cleared:
            return Decision(Do.HOLD)
        return Decision(Do.SETTLE if doubted else Do.DONE)
    if verdict is Verdict.THROTTLED:
        return Decision(Do.WAIT, waits.throttled_s * (1 + rand))
    if verdict is Verdict.TRANSIENT:
        tries.transient += 1
        return Decision(
            Do.WAIT, rand * _grown(waits.transient_first_s, waits.transient_max_s, tries.transient)
        )
    if verdict is Verdict.BACKPRESSURE:
        return Decision(Do.WAIT, rests_s)
    if verdict is Verdict.IN_DOUBT:
        tries.doubts += 1
        return Decision(Do.SETTLE)
    if tries.since < 0:
        tries.since = now
    left = retry_for_s - (now - tries.since)
    if left <= 0:
        return Decision(Do.SETTLE if doubted else Do.GIVE_UP)
    tries.busy += 1
    delay = _grown(waits.busy_first_s, waits.busy_max_s, tries.busy)
    return Decision(Do.WAIT, min(delay * (0.9 + 0.2 * rand), left))


def _grown(first_s: float, most_s: float, nth: int) -> float:
    """Doubling from `first_s` at nth=1, bounded."""
    return min(most_s, first_s * 2.0 ** min(nth - 1, 30))


@dataclass(slots=True)
class Breaker:
    """Counts bad verdicts in a row and says how long to rest after `limit` of them.

    While it is tripped only one call at a time may be out: the probe.
    """

    bad: frozenset[Verdict]
    clearing: frozenset[Verdict]
    limit: int
    first_s: float
    most_s: float
    count: int = 0
    pauses: int = 0
    rest_until: float = float("-inf")  # monotonic
    since: float = float("inf")  # monotonic; the first of the unbroken series
    doubted: bool = False  # the series holds a doubt

    @property
    def tripped(self) -> bool:
        return self.count >= self.limit

    def spent_at(self, retry_for_s: float, settle_for_s: float) -> float:
        """When (monotonic) the patience with the series is at its end; +inf where there is none.

        A doubt is asked about for `settle_for_s` before its row can be tried again.
        """
        return self.since + retry_for_s + (settle_for_s if self.doubted else 0.0)

    def note(self, verdict: Verdict, now: float) -> None:
        """Count a verdict; one that comes while resting (sent before) lengthens nothing."""
        if verdict in self.clearing:
            self.count = self.pauses = 0
            self.rest_until = float("-inf")
            self.since, self.doubted = float("inf"), False
        elif verdict in self.bad:
            self.count += 1
            self.since = min(self.since, now)
            self.doubted = self.doubted or verdict is Verdict.IN_DOUBT
            if self.tripped and now >= self.rest_until:
                self.pauses += 1
                self.rest_until = now + _grown(self.first_s, self.most_s, self.pauses)


def quota_breaker(waits: Waits) -> Breaker:
    """Ten faults, doubts or throttles in a row: the cloud, the way to it or the quota is ill."""
    clearing = frozenset(Verdict) - _BAD - {Verdict.HALT}
    return Breaker(_BAD, clearing, STREAK_LIMIT, waits.streak_first_s, waits.streak_max_s)


def region_breaker(waits: Waits) -> Breaker:
    """The region makes too many snapshots at once: let it rest."""
    clearing = frozenset({Verdict.ACCEPTED, Verdict.BUSY, Verdict.REJECTED, Verdict.SUSPECT})
    bad = frozenset({Verdict.BACKPRESSURE})
    return Breaker(bad, clearing, 1, waits.region_first_s, waits.region_max_s)
