"""The right to send for one quota, as long as the database keeps answering that it is ours.

A durable intent needs no connection any more, so a lock on the connection is not enough: whoever
was cut off, frozen or replaced must stop by itself. A lease lasts LEASE_S from the moment at which
the question was *sent* whose answer told that all our records, and nobody else's, are the newest.
It is void where a clock says that more time passed: a paused machine stops the monotonic one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

import anyio

from batchsnap.clock import Clock
from batchsnap.pacing import law

LEASE_S = 2.0
_TOKEN = 0.9  # of a window: so long a token lives at most
_SLACK_S = 0.1


def grace_s(rate_per_s: float) -> float:
    """How long a new owner waits after its `claimed` is durable: the former's lease and its last
    token are over then, and a whole window lies between."""
    window = law.window_s(rate_per_s)
    return LEASE_S + _TOKEN * window + window + _SLACK_S


class Moment(NamedTuple):
    """One instant on three clocks, seconds."""

    monotonic: float
    wall: float
    boot: float  # goes on while the machine sleeps


class Clocks:
    """Where moments come from."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> Moment:
        return Moment(self._clock.monotonic(), self._clock.wall(), self._boot())

    def _boot(self) -> float:
        try:
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        except (AttributeError, OSError):  # no Linux
            return self._clock.monotonic()


class Lease:
    """Renewed by answers; once `ended` it never holds again."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._sent: Moment | None = None
        self._changed = anyio.Event()
        self.ended = ""  # why, or "" while it may still be renewed

    def renew(self, sent: Moment) -> None:
        """A question sent at that moment was answered: all is ours."""
        if not self.ended:
            self._sent = sent
            self._wake()

    def void(self) -> None:
        """The session that proved it is gone; another has proved nothing yet."""
        self._sent = None

    def end(self, why: str) -> None:
        """It was lost, or given back."""
        self.ended = self.ended or why
        self._sent = None
        self._wake()

    def holds(self) -> bool:
        """Whether something may be sent now."""
        if self._sent is None:
            return False
        now = self._clocks.now()
        moved = [abs(then - at) for at, then in zip(now, self._sent, strict=True)]
        return max(moved) < LEASE_S

    async def held(self) -> bool:
        """Wait until it holds; False once it has ended."""
        while not self.ended:
            if self.holds():
                return True
            await self._changed.wait()
        return False

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class Leases:
    """Of many quotas that are worked on as one: it holds while all of them do."""

    def __init__(self, leases: Iterable[Lease]) -> None:
        self._leases = list(leases)

    @property
    def ended(self) -> str:
        """Why one of them has ended, or ""."""
        return next((lease.ended for lease in self._leases if lease.ended), "")

    def holds(self) -> bool:
        """Whether something may be sent now."""
        return all(lease.holds() for lease in self._leases)

    async def held(self) -> bool:
        """Wait until all hold; False once one has ended."""
        while not self.holds():
            for lease in self._leases:
                if not await lease.held():
                    return False
        return True
