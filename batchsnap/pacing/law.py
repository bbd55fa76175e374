"""The rate law: when the next start may come, as pure arithmetic in monotonic seconds.

N = floor(rate) starts may lie in a window: one second, or for rates below one the longer second
that holds one start. Starts sit on an absolute grid of (window + margin) / N. A start that comes
late keeps its grid point when it is late by less than one step; when it is later than that the
grid moves with it, and what was missed stays missed: nothing is made up.

The grid alone would let a late start and its punctual successors share a second with one too
many. The guard closes that: the N-th start before this one must lie a window and half the margin
back. Half, so that the echo of a late start, one round of N later, is weaker and dies out.

For example, 4 starts a second and a margin of 0.04 s. A step is 1.04 / 4 = 0.26 s, and the guard
asks that the 4th start before lies 1.02 s back:

    start  grid   starts
        1  0.00   0.00
        2  0.26   0.26
        3  0.52   0.70   the host was held up for 0.18 s, less than a step: the grid stays
        4  0.78   0.78   and the delay is not handed on
        5  1.04   1.04
        6  1.30   1.30
        7  1.56   1.72   the guard: start 3 was at 0.70. At 1.56 there would be five in the second
                         from 0.70 on: 0.70, 0.78, 1.04, 1.30 and 1.56
        8  1.82   1.82
        9  3.00   3.00   the host stood still for 0.92 s, more than a step: the grid moves with it
       10  3.26   3.26   and the three starts that were missed are not made up

Start 7 is late by 0.16 s only, start 11 would be by no more than 0.14 s had the host not stood
still: the echo of start 3 dies out.

The server counts arrivals, and the network moves them. The margin is what is added to the second
against that. It is learned by the smallest rule that has a balance: a step up for each throttled
call, a small share of the step down for each other one, so that this share of calls is throttled.
Throttled calls that come close together say that the margin is far off, and count threefold.

A margin beyond what a network needs means that others use the quota. Then the margin moves in
proportion, and more is throttled before it yields: whoever yields at every refusal starves beside
one who does not, and a throttled call costs a slot and no more.
"""

from __future__ import annotations

import math
from functools import lru_cache

WINDOW_S = 1.0
MARGIN_MIN_S = 0.006  # a still network on a busy host
MARGIN_MAX_S = 9.0  # a tenth of the cap: others take nearly all of it
MARGIN_STEP_S = 0.004
THROTTLED_TARGET = 0.0018
DENSE_S = 3.0  # a throttled call so soon after another widens more
SHARED_FROM_S = 0.3  # a wider margin is not about the network
SHARED_TARGET = 0.02
REMEMBERED_S = 26 * 3600.0  # to the next nightly run, which may be late or cross a clock change
_FADES_S = 4 * 24 * 3600.0  # kept whole, what one bad night taught would cost a tenth for weeks
GRID_SLACK_S = 0.01  # timers are a millisecond late; above 100/s that is not a missed start
_DENSE_FACTOR = 3
_SHARED_SHARE = 0.25  # of the margin, a step where others use the quota


@lru_cache
def window_size(rate_per_s: float) -> int:
    """How many starts one window may hold."""
    return max(1, math.floor(rate_per_s))


@lru_cache
def window_s(rate_per_s: float) -> float:
    """The window that holds `window_size` starts: a second, longer for rates below one."""
    return max(WINDOW_S, 1.0 / rate_per_s)


def step_s(rate_per_s: float, margin_s: float) -> float:
    """Seconds between two points of the grid."""
    return (window_s(rate_per_s) + margin_s) / window_size(rate_per_s)


def earliest(
    *,
    previous_due: float,
    nth_last: float,
    rate_per_s: float,
    margin_s: float,
    lag_s: float = 0.0,
) -> float:
    """The first moment at which the next start is lawful.

    `previous_due` is the grid point of the last start, `nth_last` the actual time of the
    `window_size`-th start before this one; -inf where there was none. `lag_s` is how far behind
    its grid point the start is wanted.
    """
    guard = nth_last + window_s(rate_per_s) + margin_s / 2
    return max(previous_due + step_s(rate_per_s, margin_s) + lag_s, guard)


def grid_point(*, previous_due: float, now: float, rate_per_s: float, margin_s: float) -> float:
    """The grid point that a start at `now` takes."""
    step = step_s(rate_per_s, margin_s)
    due = previous_due + step
    return due if now - due < max(step, GRID_SLACK_S) else now


def widened(margin_s: float, *, dense: bool) -> float:
    """The margin after a throttled call; `dense` when the one before was less than DENSE_S ago."""
    if margin_s >= SHARED_FROM_S:
        return min(MARGIN_MAX_S, margin_s * (1 + _SHARED_SHARE))
    return margin_s + MARGIN_STEP_S * (_DENSE_FACTOR if dense else 1)


def narrowed(margin_s: float) -> float:
    """The margin after a call that was not throttled."""
    if margin_s >= SHARED_FROM_S:
        return margin_s * (1 - _SHARED_SHARE * SHARED_TARGET)
    return max(MARGIN_MIN_S, margin_s - MARGIN_STEP_S * THROTTLED_TARGET)


def remembered(margin_s: float, age_s: float) -> float:
    """The margin to begin with where one was learned so long ago: less of it the older it is, three
    quarters for a run of every night, and the least once it was not used for longer.

    One that is about others at the quota is not kept: they may be gone.
    """
    if margin_s >= SHARED_FROM_S or age_s >= REMEMBERED_S:
        return MARGIN_MIN_S
    left = 1.0 - max(age_s, 0.0) / _FADES_S
    return MARGIN_MIN_S + max(0.0, margin_s - MARGIN_MIN_S) * left
