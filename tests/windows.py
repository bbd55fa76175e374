"""The oracle of every test of the cap."""

from __future__ import annotations

from collections.abc import Iterable

from batchsnap.pacing.law import WINDOW_S


def worst_window(starts: Iterable[float]) -> int:
    """The most starts in any half-open second of `starts` (ascending)."""
    worst = 0
    times: list[float] = []
    first = 0
    for start in starts:
        times.append(start)
        while start - times[first] >= WINDOW_S:
            first += 1
        worst = max(worst, len(times) - first)
    return worst
