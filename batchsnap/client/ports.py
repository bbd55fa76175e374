"""What the engine needs of the world.

Work is divided by quota, so whoever owns a quota paces it alone. An executor is handed its gates,
its connections and its ledger, so many of them can run in one process, each over a part of a
ledger that many machines share. What a ledger is stands in `ledger.ports`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from batchsnap.clock import Clock
from batchsnap.cloud.tc3 import Credential
from batchsnap.ledger.ports import RecordSink, RightToSend
from batchsnap.model import Departure, Fault, Quota, Reply, SignedRequest

__all__ = ["Clock", "CredentialSource", "Departure", "Gate", "Gates", "RecordSink"]
__all__ += ["RightToSend", "Say", "Send"]

Say = Callable[[str], None]
"""Hears what a person should know, a line at a time."""


class Send(Protocol):
    """Sends one signed request once and tells what came back; raises nothing remote."""

    async def send(
        self, request: SignedRequest, timeout_s: float, start: Departure | None = None
    ) -> Reply | Fault:
        """`start` is asked for leave when the connection is there, directly before the bytes are
        written, and told directly after."""
        ...


class Gate(Protocol):
    """Where a token is waited for."""

    @property
    def rate_per_s(self) -> float: ...

    async def start(self) -> int:
        """Return when the next start is lawful; the number is its token.

        Raises:
            Shut: there will be none.
        """
        ...

    def leave(self, token: int) -> bool:
        """May the call of that start leave now? If so it is dated now; False where it came too
        late and needs another."""
        ...

    def left(self, token: int) -> None:
        """The bytes of that start have just been written: it is dated anew, with now."""
        ...

    def replied(self, token: int, *, throttled: bool) -> None:
        """The call of that start is over, or was never made."""
        ...

    def pause(self, seconds: float) -> None:
        """Start nothing for so long."""
        ...


class Gates(Protocol):
    """The one gate of each quota."""

    def of(self, quota: Quota) -> Gate: ...


class CredentialSource(Protocol):
    """Credentials by profile, refreshed before they expire.

    Raises:
        CredentialsError: there are none.
    """

    async def get(self, profile: str) -> Credential: ...

    def invalidate(self, profile: str) -> None: ...
