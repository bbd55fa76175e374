"""Owns the count of calls in any one second, and the refusal of the one too many."""

from __future__ import annotations

from collections import deque
from typing import Any

# A microsecond short of a second: Unix seconds in a float are no finer than a quarter of one,
# and calls exactly a second apart must not fall into one window by rounding.
WINDOW_S = 1.0 - 1e-6


class _Window:
    """How many marks lie in the last second, and the most that ever did."""

    def __init__(self) -> None:
        self.marks: deque[float] = deque()
        self.worst = 0

    def add(self, now: float) -> int:
        count = self.count(now) + 1
        self.marks.append(now)
        self.worst = max(self.worst, count)
        return count

    def count(self, now: float) -> int:
        marks = self.marks
        while marks and marks[0] <= now - WINDOW_S:
            marks.popleft()
        return len(marks)


class Meter:
    """One quota: one action called by one SecretId.

    `sliding` looks back over (now - 1 s, now]; `fixed` counts within whole seconds of the
    clock. Refused calls were seen to be counted too (the counts in the cloud's messages go
    21, 22, 23 for a limit of 20), so they are unless `count_rejected` is off. The two `worst`
    figures are strict sliding seconds whatever the window that refuses.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.throttled = 0
        self._arrived = _Window()
        self._accepted = _Window()
        self._second = -1
        self._in_second = 0

    def arrive(
        self, now: float, cap: float, *, window: str = "sliding", count_rejected: bool = True
    ) -> int:
        """Count one call at `now` (seconds, never going back).

        Returns 0 if it may pass, else the number of calls in the window, this one included.
        A cap of 0 lets everything pass.
        """
        self.calls += 1
        arrivals = self._arrived.add(now)
        if window == "fixed":
            seen = self._count_fixed(now)
        elif count_rejected:
            seen = arrivals
        else:
            seen = self._accepted.count(now) + 1
        if cap and seen > cap:
            self.throttled += 1
            if window == "fixed" and not count_rejected:
                self._in_second -= 1
            return seen
        self._accepted.add(now)
        return 0

    def _count_fixed(self, now: float) -> int:
        if int(now) != self._second:
            self._second, self._in_second = int(now), 0
        self._in_second += 1
        return self._in_second

    def to_json(self) -> dict[str, Any]:
        """`{calls, throttled, worst_second, worst_second_accepted}`, all counts."""
        return {
            "calls": self.calls,
            "throttled": self.throttled,
            "worst_second": self._arrived.worst,
            "worst_second_accepted": self._accepted.worst,
        }
