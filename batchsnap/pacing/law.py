"""The rate law: when the next start may come, as pure arithmetic in monotonic seconds.

Starts sit on an absolute grid, one every (1 + margin) / rate seconds. A start that comes late
keeps its grid point when it is late by less than one step; when it is later than that the grid
moves with it, and what was missed stays missed: nothing is made up.

The grid alone would let a late start and its punctual successors share a second with one too
many. The guard closes that: the N-th start before this one must lie 1 s + margin back.

The server counts arrivals, and the network moves them. The margin is what is added to the second
against that. It is learned by the smallest rule that has a balance: a step up for each throttled
call, a small share of the step down for each other one, so that this share of calls is throttled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

WINDOW_S = 1.0
MARGIN_MIN_S = 0.006  # a still network on a busy host
MARGIN_MAX_S = 3.0  # a quarter of the cap: others use this quota too
MARGIN_STEP_S = 0.006
THROTTLED_TARGET = 0.0016
_JITTER_MOST_S = 0.3  # a wider margin is not about the network


def window_size(rate_per_s: float) -> int:
    """How many starts one window may hold."""
    return max(1, math.floor(rate_per_s))


def step_s(rate_per_s: float, margin_s: float) -> float:
    """Seconds between two points of the grid."""
    return (WINDOW_S + margin_s) / rate_per_s


def earliest(
    *, previous_due: float, nth_last: float, rate_per_s: float, margin_s: float, not_before: float
) -> float:
    """The first moment at which the next start is lawful.

    `previous_due` is the grid point of the last start, `nth_last` the actual time of the
    `window_size`-th start before this one; -inf where there was none.
    """
    guard = nth_last + max(WINDOW_S, window_size(rate_per_s) / rate_per_s) + margin_s
    return max(previous_due + step_s(rate_per_s, margin_s), guard, not_before)


def grid_point(*, previous_due: float, now: float, rate_per_s: float, margin_s: float) -> float:
    """The grid point that a start at `now` takes."""
    step = step_s(rate_per_s, margin_s)
    due = previous_due + step
    return due if now - due < step else now


def widened(margin_s: float) -> float:
    """The margin after a throttled call."""
    return min(MARGIN_MAX_S, margin_s + _margin_step_s(margin_s))


def narrowed(margin_s: float) -> float:
    """The margin after a call that was not throttled."""
    return max(MARGIN_MIN_S, margin_s - _margin_step_s(margin_s) * THROTTLED_TARGET)


def _margin_step_s(margin_s: float) -> float:
    """Small against jitter; a quarter of the margin where others use the quota too."""
    return MARGIN_STEP_S if margin_s < _JITTER_MOST_S else margin_s / 4


def worst_window(starts: Iterable[float]) -> int:
    """The most starts in any half-open second of `starts` (ascending): the oracle of tests."""
    worst = 0
    times: list[float] = []
    first = 0
    for start in starts:
        times.append(start)
        while start - times[first] >= WINDOW_S:
            first += 1
        worst = max(worst, len(times) - first)
    return worst
