"""Room for calls: how many are out, and how many rows are on their way to a token."""

from __future__ import annotations

import math

from batchsnap.settings import Settings

AHEAD_MAX = 1000  # rows kept ready, however high the rate


class Slots:
    """The bounds of one quota.

    Rows whose intent is written and whose token is not yet there are what a kill leaves in doubt
    for nothing, so only half a second of them is staged; and they are staged half of that at a
    time, for intents that are written together share a sync.
    """

    def __init__(self, settings: Settings) -> None:
        self.out = 0
        self._out_max = settings.max_in_flight
        self._staged = 0
        self._staged_max = max(1, math.ceil(min(settings.rate_per_s, AHEAD_MAX) / 2))
        self._filling = True

    @property
    def full(self) -> bool:
        return self.out >= self._out_max or not self._filling

    def take(self) -> None:
        """A row is started."""
        self.out += 1
        self._staged += 1
        self._filling = self._filling and self._staged < self._staged_max

    def started(self) -> bool:
        """A row has its token, or will never need one; whether another may be started."""
        self._staged -= 1
        self._filling = self._filling or self._staged <= self._staged_max // 2
        return not self.full

    def leave(self) -> None:
        """A call is over."""
        self.out -= 1
