"""Gates that give a start only while the quota's lease holds.

A durable intent whose call has not left is stopped here, and nowhere else: by the time at which a
new owner starts anything, every former owner's lease has run out (`lease.grace_s`).
"""

from __future__ import annotations

from batchsnap.client.ports import Gate, Gates
from batchsnap.model import Quota
from batchsnap.pacing.quota_file import Shut
from batchsnap.postgres.lease import Lease


class LeasedGate:
    """A gate behind a lease. A start that has no lease waits for it, and for another token."""

    def __init__(self, gate: Gate, lease: Lease) -> None:
        self._gate = gate
        self._lease = lease

    @property
    def rate_per_s(self) -> float:
        return self._gate.rate_per_s

    async def start(self) -> int:
        """Wait for the lease and the next lawful start; raises Shut once the quota is lost."""
        while await self._lease.held():
            token = await self._gate.start()
            if self._lease.holds():
                return token
            self._gate.replied(token, throttled=False)
        raise Shut(f"nothing more is sent for this quota: {self._lease.ended}")

    def leave(self, token: int) -> bool:
        """May the call leave now: asked of the lease directly before its bytes are written."""
        if self._lease.holds():
            return self._gate.leave(token)
        self._gate.replied(token, throttled=False)
        return False

    def left(self, token: int) -> None:
        self._gate.left(token)

    def replied(self, token: int, *, throttled: bool) -> None:
        self._gate.replied(token, throttled=throttled)

    def pause(self, seconds: float) -> None:
        self._gate.pause(seconds)


class LeasedGates:
    """The gates of one tenure: creates and questions alike need its lease."""

    def __init__(self, gates: Gates, lease: Lease) -> None:
        self._gates = gates
        self._lease = lease
        self._leased: dict[Quota, LeasedGate] = {}

    def of(self, quota: Quota) -> Gate:
        if quota not in self._leased:
            self._leased[quota] = LeasedGate(self._gates.of(quota), self._lease)
        return self._leased[quota]
